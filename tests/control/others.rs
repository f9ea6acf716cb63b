//! Two daemons and one directory: what one of them does at its end costs the other nothing.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use akvfs::mount::mountinfo;

use crate::commands::ok;
use crate::mounts::{Mounted, eventually};

/// The end's own limit, and what a busy machine takes.
const END: Duration = Duration::from_secs(5 + 2);

fn is_there(mounted: &Mounted) -> bool {
    mountinfo::top_at(mounted.dir()).unwrap().is_some() && mounted.path(".akvfs/status.json").exists()
}

#[test]
fn who_was_detached_takes_no_other_mount_away_at_its_end() {
    let Some(mut first) = Mounted::new("local:", "ttl=10m") else { return };
    let held = fs::File::open(first.path(".akvfs/status.json")).unwrap();
    let dir = first.dir().to_owned();
    ok(&["unmount", "--lazy", dir.to_str().unwrap()], "/".as_ref());
    let second = Mounted::starting_at(&dir, "local:");
    eventually(|| second.log().contains(" has mounted "));
    first.signal(libc::SIGTERM);
    assert!(first.ends_within(END), "{}", first.log());
    assert!(is_there(&second), "it was taken away: {}", second.log());
    drop(held);
}

#[test]
fn who_has_not_mounted_yet_takes_no_other_mount_away() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    if !crate::mounts::can_mount() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().canonicalize().unwrap();
    let mut first = Mounted::starting_at(&dir, &format!("http://{}", silent.local_addr().unwrap()));
    let _asked = silent.accept().unwrap();
    let second = Mounted::starting_at(&dir, "local:");
    eventually(|| second.log().contains(" has mounted "));
    // Each is a signal of its own: the second is to end it at once.
    let ended = (0..1000).any(|_| {
        first.signal(libc::SIGTERM);
        first.ends_within(Duration::from_millis(20))
    });
    assert!(ended, "{}", first.log());
    assert!(is_there(&second), "it was taken away: {}", second.log());
}
