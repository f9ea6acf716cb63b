//! What the kernel asks the daemon: counted, because that does not depend on the machine. A warm read costs what a local
//! file costs only where nothing is asked.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::Path;

use super::harness::World;

/// How often each thing is done, so that one stray request is no finding.
const ROUNDS: u64 = 50;
/// A stray request of another program (`df` looks at every mount) comes once; what a thing costs comes each time.
const TRIES: usize = 3;

type Counts = BTreeMap<String, u64>;

/// The requests of the kernel so far, by call. FORGET comes when the kernel likes, STATFS from whoever runs `df`.
fn counts(world: &World) -> Counts {
    let page = fs::read_to_string(world.path(".akvfs/metrics")).unwrap();
    let samples = page.lines().filter_map(|line| line.strip_prefix("akvfs_kernel_requests_total{call=\""));
    let counts = samples.map(|sample| sample.split_once("\"} ").unwrap());
    let counts = counts.filter(|(call, _)| !matches!(*call, "forget" | "statfs"));
    counts.map(|(call, count)| (call.to_owned(), count.parse().unwrap())).collect()
}

fn difference(after: &Counts, before: &Counts) -> Counts {
    after.iter().map(|(call, count)| (call.clone(), count - before.get(call).unwrap_or(&0))).collect()
}

/// What `act` costs when it is done `ROUNDS` times, without what looking costs.
fn cost(world: &World, act: &dyn Fn(&World)) -> Counts {
    act(world);
    act(world);
    let tries = (0..TRIES).map(|_| {
        settle();
        let (first, second) = (counts(world), counts(world));
        (0..ROUNDS).for_each(|_| act(world));
        settle();
        let third = counts(world);
        let looking = difference(&second, &first);
        let mut cost = difference(&third, &second);
        cost.iter_mut().for_each(|(call, count)| *count = count.saturating_sub(*looking.get(call).unwrap_or(&0)));
        cost.retain(|_, count| *count > 0);
        cost
    });
    tries.min_by_key(|cost| cost.values().sum::<u64>()).unwrap()
}

/// RELEASE is sent behind the back of who closes.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(50));
}

/// Whether these are `ROUNDS` times each of these calls and nothing else; of the last RELEASE one may be late, or come
/// from before.
fn is_each_once(cost: &Counts, calls: [&str; 2]) -> bool {
    let [open, close] = calls.map(|call| cost.get(call).copied().unwrap_or_default());
    cost.len() == 2 && open == ROUNDS && close.abs_diff(ROUNDS) <= 2
}

fn read(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn map(path: &Path) -> u8 {
    let file = File::open(path).unwrap();
    // SAFETY: a fresh shared mapping of one page of a file of at least one byte, unmapped before the file is closed.
    unsafe {
        let at = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0);
        assert_ne!(at, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        let first = *at.cast::<u8>();
        libc::munmap(at, 4096);
        first
    }
}

fn names(path: &Path) -> usize {
    fs::read_dir(path).unwrap().map(Result::unwrap).count()
}

type Act = (&'static str, Box<dyn Fn(&World)>);

fn opens() -> Vec<Act> {
    vec![
        ("read value", Box::new(|world| assert_eq!(read(&world.path("secrets/a/value")), b"needle"))),
        ("read file", Box::new(|world| assert_eq!(read(&world.path("files/b")).len(), 25_600))),
        ("map", Box::new(|world| assert_eq!(map(&world.path("secrets/a/value")), b'n'))),
    ]
}

fn looks() -> Vec<Act> {
    vec![
        ("stat value", Box::new(|world| assert_eq!(fs::metadata(world.path("secrets/a/value")).unwrap().len(), 6))),
        ("stat directory", Box::new(|world| assert!(fs::metadata(world.path("secrets/b")).unwrap().is_dir()))),
        ("missing file", Box::new(|world| assert!(!world.path("files/.htaccess").exists()))),
        ("missing in a secret", Box::new(|world| assert!(!world.path("secrets/a/none").exists()))),
    ]
}

/// Which a writable mount is asked about: a secret can come to be by another path of the same mount.
fn looks_for_secrets() -> Vec<Act> {
    vec![
        ("missing secret", Box::new(|world| assert!(!world.path("secrets/none").exists()))),
        ("missing name", Box::new(|world| assert!(!world.path("files/none").exists()))),
    ]
}

fn listings() -> Vec<Act> {
    vec![
        ("ls secrets", Box::new(|world| assert_eq!(names(&world.path("secrets")), 30))),
        ("ls files", Box::new(|world| assert_eq!(names(&world.path("files")), 30))),
    ]
}

fn world(options: &str) -> Option<World> {
    let full = "x".repeat(25_600);
    let more: Vec<_> = (0..28).map(|number| format!("more-{number}")).collect();
    let mut secrets = vec![("a", "needle"), ("b", full.as_str())];
    secrets.extend(more.iter().map(|name| (name.as_str(), "x")));
    let world = World::new(&secrets, &format!("ttl=10m,kernel_ttl=10m,negative_ttl=10m,{options}"))?;
    assert_eq!(names(&world.path("secrets")), 30);
    Some(world)
}

#[test]
fn a_warm_read_only_mount_is_asked_nothing() {
    let Some(world) = world("ro") else { return };
    let in_secret: Act = ("ls a secret", Box::new(|world| assert_eq!(names(&world.path("secrets/a")), 3)));
    for (what, act) in
        opens().into_iter().chain(looks()).chain(looks_for_secrets()).chain(listings()).chain([in_secret])
    {
        assert_eq!(cost(&world, &act), Counts::new(), "{what}");
    }
    // And as the system counts it: a request of the kernel is one read of the daemon's.
    let status: serde_json::Value = serde_json::from_slice(&read(&world.path(".akvfs/status.json"))).unwrap();
    let reads = || {
        let io = fs::read_to_string(format!("/proc/{}/io", status["pid"])).unwrap();
        io.lines().find_map(|line| line.strip_prefix("syscr: ")).unwrap().parse::<u64>().unwrap()
    };
    let tries = (0..TRIES).map(|_| {
        let before = reads();
        (0..1000).for_each(|_| assert_eq!(read(&world.path("secrets/a/value")).len(), 6));
        reads() - before
    });
    assert!(tries.min().unwrap() < 100, "a thousand opens");
    assert_eq!(world.vault.requests("get"), 2);
}

#[test]
fn a_warm_writable_mount_is_asked_to_open_and_to_release() {
    let Some(world) = world("rw") else { return };
    for (what, act) in opens() {
        let cost = cost(&world, &act);
        assert!(is_each_once(&cost, ["open", "release"]), "{what}: {cost:?}");
    }
    for (what, act) in looks() {
        assert_eq!(cost(&world, &act), Counts::new(), "{what}");
    }
    for (what, act) in listings() {
        let cost = cost(&world, &act);
        assert!(is_each_once(&cost, ["opendir", "releasedir"]), "{what}: {cost:?}");
    }
    assert_eq!(world.vault.requests("get"), 2);
}

#[test]
fn a_long_listing_looks_up_no_name_and_reads_no_value() {
    for options in ["ro", "rw"] {
        let Some(world) = world(options) else { return };
        let (before, lists) = (counts(&world), world.vault.requests("list"));
        let long = world.bash("", r#"ls -l "$M/secrets" | wc -l"#).ok();
        let asked = difference(&counts(&world), &before);
        assert_eq!(long.trim(), "31");
        assert!(asked["lookup"] < 15, "{options}: {asked:?}");
        assert_eq!((world.vault.requests("get"), world.vault.requests("list")), (0, lists), "{options}");
    }
}

#[test]
fn who_looks_at_each_name_of_a_listing_that_is_on_its_way_asks_for_its_pages_alone() {
    let names: Vec<_> = (0..120).map(|number| format!("name-{number}")).collect();
    let secrets: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    for options in ["ro,ttl=10m,lazy_auth", "rw,ttl=10m,lazy_auth"] {
        let Some(world) = World::new(&secrets, options) else { return };
        let lists = world.vault.requests("list");
        assert_eq!(world.bash("", r#"ls -l "$M/secrets" | wc -l"#).ok().trim(), "121");
        assert_eq!((world.vault.requests("get"), world.vault.requests("list") - lists), (0, 5), "{options}");
    }
}

#[test]
fn every_name_of_a_long_directory_is_listed_once() {
    let names: Vec<String> = (0..1500).map(|number| format!("name-{number}-{}", "x".repeat(40))).collect();
    let secrets: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    for options in ["ro", "rw"] {
        let Some(world) = World::new(&secrets, options) else { return };
        for path in ["secrets", "files", "backup", "secrets"] {
            let script = format!(
                r#"ls -f "$M/{path}" | grep ^name | sort > "$T/1"; ls "$M/{path}" > "$T/2"; sort -u "$T/1" "$T/2" | wc -l; wc -l < "$T/1"; wc -l < "$T/2""#
            );
            assert_eq!(world.bash("", &script).ok(), "1500\n1500\n1500\n", "{options}: {path}");
        }
    }
}

#[test]
fn what_a_listing_told_of_a_file_is_what_a_look_up_tells() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let config = tempfile::NamedTempFile::new().unwrap();
    let rule = "[[rules]]\nsecrets = \"a\"\nowner = 1234\ngroup = 5678\nmode = \"0440\"\n";
    fs::write(config.path(), rule).unwrap();
    fs::set_permissions(config.path(), fs::Permissions::from_mode(0o600)).unwrap();
    for how in ["ro", "rw"] {
        let options = format!("{how},config={}", config.path().display());
        let Some(world) = World::new(&[("a", "x"), ("b", "y")], &options) else { return };
        // The first page of a listing tells attributes too, of values before and after they are known.
        for warm in [":", r#"cat "$M"/files/*"#] {
            let script = format!(r#"{warm}; ls "$M" "$M/secrets" "$M/secrets/a" "$M/files" "$M/backup""#);
            world.bash("", &script).ok();
            for path in ["secrets/a", "secrets/a/value", "secrets/a/.meta.json", "secrets/a/versions", "files/a"] {
                let told = fs::metadata(world.path(path)).unwrap();
                assert_eq!((told.uid(), told.gid()), (1234, 5678), "{how}: {path}");
            }
            assert_eq!(fs::metadata(world.path("files/a")).unwrap().mode() & 0o777, 0o440);
            assert_eq!(fs::metadata(world.path("files/b")).unwrap().uid(), 0);
        }
    }
}
