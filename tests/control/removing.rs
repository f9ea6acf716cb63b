//! Removals that wait, without a kernel: what is sent of them, and what is on its way at the same moment.

use std::sync::mpsc;
use std::time::Duration;

use akvfs::fs::OpenFlags;
use akvfs::store::{Operation, SecretStore};

use crate::house::{House, errno};
use crate::support::name;

/// A close that says "saved" must not be followed by the deletion that the save came too late to take back.
#[test]
fn a_save_waits_for_a_deletion_that_is_under_way() {
    let house = House::new();
    house.save_new("n", "old").unwrap();
    let dir = house.ino("secrets/n");
    house.fs.unlink(&house.call(), dir, "value").unwrap();
    house.clock.advance(Duration::from_secs(2));
    house.model.shut_gate(Operation::Delete);
    let (told, saved) = mpsc::channel();
    std::thread::scope(|scope| {
        let deleting = scope.spawn(|| house.fs.send_due_removals());
        house.model.wait_at_gate(Operation::Delete, 1);
        scope.spawn(|| {
            let flags = OpenFlags::from_bits(libc::O_WRONLY);
            let (entry, opened) = house.fs.create(&house.call(), dir, "value", 0o600, flags).unwrap();
            told.send(house.write_and_close(opened.handle, entry.node, b"new")).unwrap();
        });
        // Time enough for a save that does not wait.
        let early = saved.recv_timeout(Duration::from_millis(300)).ok();
        house.model.open_gate(Operation::Delete);
        deleting.join().unwrap();
        let answer = early.unwrap_or_else(|| saved.recv().unwrap());
        assert_eq!(answer, Err(libc::EEXIST), "left: what the close said of a secret that is deleted now");
    });
    assert!(house.model.get(&name("n"), None, house.call().wait).is_err());
    assert_eq!(house.model.calls(Operation::Delete), 1);
}

/// Whoever looks at deleted/ sends what waits; so does the clock.
#[test]
fn a_removal_that_waits_is_sent_once_whoever_sends_it() {
    let house = House::new();
    house.save_new("n", "old").unwrap();
    house.fs.unlink(&house.call(), house.ino("secrets/n"), "value").unwrap();
    house.clock.advance(Duration::from_secs(2));
    house.model.shut_gate(Operation::Delete);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| house.fs.send_due_removals());
        house.model.wait_at_gate(Operation::Delete, 1);
        let seen = house.walk("secrets/n/value").map(drop);
        let second = scope.spawn(|| house.fs.send_removals(house.call().wait));
        house.model.open_gate(Operation::Delete);
        first.join().unwrap();
        second.join().unwrap().unwrap();
        assert_eq!(errno(seen), libc::ENOENT, "what was removed is not there again while the vault is told");
    });
    assert_eq!(house.model.calls(Operation::Delete), 1);
    assert!(house.errors().is_empty(), "{:?}", house.errors());
}
