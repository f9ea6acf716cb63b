//! A terminal, to see what a program shows on one.

#![allow(dead_code, reason = "each test uses some of it")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::ptr::null_mut;

/// What the program shows is read here, and what is written here it is typed.
pub struct Terminal(File);

impl Terminal {
    /// A terminal of so many columns and rows, and its other end, for a program.
    pub fn new(columns: u16, rows: u16) -> (Self, OwnedFd) {
        let (mut ours, mut theirs) = (0, 0);
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the places are there; a name and settings are not asked for.
        let opened = unsafe { libc::openpty(&raw mut ours, &raw mut theirs, null_mut(), null_mut(), &raw const size) };
        assert_eq!(opened, 0, "{}", io::Error::last_os_error());
        // SAFETY: both were just opened, and nobody else knows of them.
        unsafe { (Self(File::from_raw_fd(ours)), OwnedFd::from_raw_fd(theirs)) }
    }

    /// Runs `command` on a terminal of its own: what stops a program by a key stops it.
    pub fn run(command: &mut Command, columns: u16, rows: u16) -> (Self, Child) {
        let (terminal, end) = Self::new(columns, rows);
        let copy = || end.try_clone().unwrap();
        command.stdin(copy()).stdout(copy()).stderr(copy());
        // SAFETY: these calls may be made between fork and exec, and touch nothing of ours.
        unsafe {
            command.pre_exec(|| {
                // A shell makes what it runs in the background deaf to it.
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                match libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    true => Err(io::Error::last_os_error()),
                    false => Ok(()),
                }
            })
        };
        let child = command.spawn().unwrap();
        // The command keeps its copies; what is left open here would hide the end of the program.
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        (terminal, child)
    }

    /// All that is shown until `enough` says so of it, or until nobody shows anything any more.
    pub fn until(&mut self, enough: impl Fn(&str) -> bool) -> String {
        let mut shown = Vec::new();
        let mut more = [0; 4096];
        loop {
            // The end of a terminal without a program is EIO.
            let length = self.0.read(&mut more).unwrap_or(0);
            shown.extend_from_slice(&more[..length]);
            let text = String::from_utf8_lossy(&shown);
            if length == 0 || enough(&text) {
                return text.into_owned();
            }
        }
    }

    /// Types.
    pub fn types(&mut self, keys: &str) {
        self.0.write_all(keys.as_bytes()).unwrap();
    }
}
