//! Who makes the calls: a thread that may no more than the owner of the files may.

use std::io;

/// `_LINUX_CAPABILITY_VERSION_3` of `linux/capability.h`.
const VERSION: u32 = 0x2008_0522;

/// Since this version a tmpfs has extended attributes of users and takes O_DIRECT.
const TMPFS_AS_COMPARED: (u32, u32) = (6, 6);

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Whether a tmpfs can be mounted here to compare with; says so loudly if not.
pub fn is_possible() -> bool {
    // SAFETY: no arguments, cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    if !is_root {
        skipped!("only root can mount a tmpfs to compare with");
        return false;
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let kernel = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if kernel < TMPFS_AS_COMPARED {
        skipped!("the tmpfs of Linux {release} answers otherwise than that of {TMPFS_AS_COMPARED:?}");
    }
    kernel >= TMPFS_AS_COMPARED
}

/// Runs `call` on a thread without capabilities that has a working directory of its own.
pub fn act(call: impl FnOnce() -> i32 + Send) -> i32 {
    std::thread::scope(|scope| {
        let run = || {
            // SAFETY: a number; from here on this thread's working directory is its own.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_FS) }, 0, "{}", io::Error::last_os_error());
            give_up_capabilities();
            call()
        };
        scope.spawn(run).join().unwrap()
    })
}

/// Not for ever: the programs that this thread starts have them again.
fn give_up_capabilities() {
    let header = Header { version: VERSION, pid: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: both structures are the kernel's for this version, and live through the call.
    let got = unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) };
    sets.iter_mut().for_each(|set| set.effective = 0);
    // SAFETY: as above.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    assert_eq!((got, set), (0, 0), "{}", io::Error::last_os_error());
}
