//! Who may read: three real users, of whom one is root.

use super::support::run;

#[test]
fn only_the_user_who_mounts_gets_in() {
    let script = r#"
install_akvfs
mount -t akvfs local: mnt -o umask=0
mkdir mnt/secrets/a
printf %s value | tee mnt/secrets/a/value
for user in 1234 65534; do
  fails 1 as_user $user stat mnt/secrets
  fails 1 as_user $user cat mnt/secrets/a/value
done
"#;
    let Some(wrote) = run(script) else { return };
    assert!(wrote.starts_with("value"), "{wrote}");
    assert_eq!(wrote.matches("Permission denied").count(), 4, "{wrote}");
}

#[test]
fn others_get_in_as_far_as_permissions_let_them() {
    let script = r#"
install_akvfs
mount -t akvfs local: mnt -o allow_other,uid=1234,gid=5678,file_mode=0640,dir_mode=0750
mkdir mnt/secrets/a
printf %s first | tee mnt/secrets/a/value >/dev/null
stat -c '%u %g %a' mnt mnt/secrets/a mnt/secrets/a/value mnt/secrets/a/.meta.json
echo "root: $(cat mnt/secrets/a/value)"
echo "owner: $(as_user 1234 cat mnt/secrets/a/value)"
echo second | as_user 1234 tee mnt/secrets/a/value >/dev/null
as_user 1234 mkdir mnt/secrets/b
group() { setpriv --reuid=4321 --regid=5678 --clear-groups "$@"; }
echo "group: $(group cat mnt/secrets/a/value)"
fails 1 group tee mnt/secrets/a/value
fails 1 group mkdir mnt/secrets/c
fails 1 as_user 65534 cat mnt/secrets/a/value
as_user 65534 cat mnt/secrets/a/.meta.json 2>&1 || true
"#;
    let Some(wrote) = run(script) else { return };
    let lines: Vec<&str> = wrote.lines().collect();
    assert_eq!(lines[..4], ["1234 5678 750", "1234 5678 750", "1234 5678 640", "1234 5678 640"]);
    assert_eq!(lines[4..7], ["root: first", "owner: first", "group: second"]);
    assert_eq!(lines.len(), 11, "{wrote}");
    assert!(lines[7..].iter().all(|line| line.ends_with("Permission denied")), "{wrote}");
}

#[test]
fn rules_and_tags_say_whose_a_secret_is() {
    let script = r#"
install_akvfs
cat >akvfs.toml <<END
[[rules]]
secrets = "web-*"
owner = "nobody"
group = 5678
mode = "0440"
[[rules]]
secrets = "app-?"
owner = 1234
mode = "0600"
END
mount -t akvfs local:v.redb mnt -o allow_other,dir_mode=0711,owner_tags,config=akvfs.toml
for secret in web-tls app-a tagged odd plain; do
  mkdir mnt/secrets/$secret
  printf %s "of $secret;" | tee mnt/secrets/$secret/value >/dev/null
done
echo '{"tags":{"akvfs-owner":"1234","akvfs-group":"nogroup","akvfs-mode":"0640"}}' >mnt/secrets/tagged/.meta.json
echo '{"tags":{"akvfs-owner":"no such user","akvfs-mode":"9"}}' >mnt/secrets/odd/.meta.json
echo '{"tags":{"akvfs-owner":"1234","akvfs-mode":"0666"}}' >mnt/secrets/web-tls/.meta.json
echo >mnt/.akvfs/refresh
for path in web-tls web-tls/value web-tls/.meta.json web-tls/versions app-a app-a/value tagged tagged/value odd/value plain plain/value; do
  echo "$path $(stat -c '%u %g %a' mnt/secrets/$path)"
done
stat -c '%n %u %g %a' mnt/files/web-tls mnt/backup/web-tls
group() { setpriv --reuid=4321 --regid=5678 --clear-groups "$@"; }
as_user 1234 cat mnt/secrets/app-a/value mnt/secrets/tagged/value
as_user 65534 cat mnt/secrets/web-tls/value
group cat mnt/files/web-tls
printf %s "changed;" | as_user 1234 tee mnt/secrets/app-a/value >/dev/null
as_user 1234 cat mnt/files/app-a
echo
for denied in "as_user 1234 cat mnt/secrets/web-tls/value" "as_user 65534 tee mnt/secrets/web-tls/value" \
  "as_user 65534 cat mnt/secrets/app-a/value" "group cat mnt/files/app-a" "as_user 1234 cat mnt/secrets/plain/value" \
  "as_user 65534 cat mnt/backup/web-tls" "as_user 1234 ls mnt/secrets"; do
  $denied </dev/null >/dev/null 2>&1 && echo "let in: $denied"
done
umount mnt
eventually gone
mount -t akvfs local:v.redb mnt -o ro,allow_other,dir_mode=0711,config=akvfs.toml
ls -ln mnt/files | awk 'NR > 1 { print $1, $3, $4, $NF }' # attributes that come with the listing
stat -c '%a' mnt/secrets/app-a mnt/secrets/app-a/value
"#;
    let Some(wrote) = run(script) else { return };
    let expected = "\
web-tls 65534 5678 550
web-tls/value 65534 5678 440
web-tls/.meta.json 65534 5678 440
web-tls/versions 65534 5678 550
app-a 1234 0 700
app-a/value 1234 0 600
tagged 1234 65534 750
tagged/value 1234 65534 640
odd/value 0 0 600
plain 0 0 711
plain/value 0 0 600
mnt/files/web-tls 65534 5678 440
mnt/backup/web-tls 0 0 600
of app-a;of tagged;of web-tls;of web-tls;changed;
-r-------- 1234 0 app-a
-r-------- 0 0 odd
-r-------- 0 0 plain
-r-------- 0 0 tagged
-r--r----- 65534 5678 web-tls
500
400
";
    assert_eq!(wrote, expected);
}

#[test]
fn owners_can_be_named_through_mount() {
    let script = r#"
install_akvfs
mount -t akvfs local: mnt -o uid=nobody,gid=nogroup,umask=0277,ca_file="$1/no,such.pem",lazy_auth 2>&1 || true
mount -t akvfs local: mnt -o uid=nobody,gid=nogroup,umask=0277
stat -c '%U %G %a' mnt
"#;
    let Some(wrote) = run(script) else { return };
    assert!(wrote.ends_with("nobody nogroup 500\n"), "{wrote}");
}

#[test]
fn a_user_mounts_for_himself_and_for_others_only_where_root_allows_it() {
    let script = r#"
command -v fusermount3 >/dev/null || { echo SKIPPED; exit; }
install_akvfs
mknod fuse c 10 229
chmod 666 fuse
mount --bind fuse /dev/fuse
chown 1234 mnt
echo tester:x:1234:1234::/:/bin/sh >>/etc/passwd # fusermount3 wants a name
as_user 1234 akvfs local: mnt
as_user 1234 stat -c %u mnt
fails 2 ls mnt
as_user 1234 akvfs unmount mnt
fails 32 as_user 1234 akvfs local: mnt -o allow_other
echo user_allow_other >/etc/fuse.conf
as_user 1234 akvfs local: mnt -o allow_other,umask=022
as_user 65534 ls mnt | grep -x secrets
fails 1 as_user 65534 mkdir mnt/secrets/a
kill $(daemons)
eventually sh -c "! findmnt mnt"
"#;
    let Some(wrote) = run(script) else { return };
    if wrote == "SKIPPED\n" {
        return skipped!("fusermount3 is missing (apt-get install fuse3)");
    }
    let lines: Vec<&str> = wrote.lines().collect();
    assert_eq!(lines[0], "1234", "{wrote}");
    assert!(lines[1].ends_with("Permission denied"), "root is another user too: {wrote}");
    assert!(lines[2].ends_with("write user_allow_other into /etc/fuse.conf"), "{wrote}");
    assert_eq!(lines[3], "secrets");
    assert!(lines[4].ends_with("Permission denied"), "{wrote}");
}

#[test]
fn who_watches_a_mount_of_an_ordinary_user_is_woken() {
    let script = r#"
command -v fusermount3 inotifywait >/dev/null || { echo SKIPPED; exit; }
install_akvfs
mknod fuse c 10 229
chmod 666 fuse
mount --bind fuse /dev/fuse
echo tester:x:1234:1234::/:/bin/sh >>/etc/passwd # fusermount3 wants a name
akvfs serve --listen 127.0.0.1:0 >served &
eventually grep -q http served
vault=$(sed 's/.* //' served)
mkdir other
mount -t akvfs "$vault" other
mkdir other/secrets/a
printf %s 0 | tee other/secrets/a/value >/dev/null
chown 1234 mnt
as_user 1234 akvfs "$vault" mnt -o ttl=300ms
as_user 1234 cat mnt/secrets/a/value >/dev/null
for path in secrets/a secrets/a/value files; do
  as_user 1234 cat mnt/files/a >/dev/null
  as_user 1234 inotifywait -qm -e modify,close_write,moved_to mnt/$path 2>/dev/null |
    while read -r _; do as_user 1234 cat mnt/secrets/a/value; echo; done >"heard.$(basename $path)" &
done
heard() { # VALUE: every watcher has read it last
  for file in heard.*; do [ "$(tail -n 1 "$file")" = "$1" ] || return 1; done
}
rotate() { printf %s "$1" | tee other/secrets/a/value >/dev/null; }
rotated() { # until all of them are watching
  rotate "first $(date +%N)"
  sleep 0.5
  for file in heard.*; do [ -s "$file" ] || return 1; done
}
until rotated; do :; done
for value in second third fourth; do
  rotate $value
  eventually heard $value
  echo "$value was heard of"
done
kill $(pidof inotifywait) $(daemons)
"#;
    let Some(wrote) = run(script) else { return };
    if wrote == "SKIPPED\n" {
        return skipped!("fusermount3 or inotifywait is missing (apt-get install fuse3 inotify-tools)");
    }
    assert_eq!(wrote, "second was heard of\nthird was heard of\nfourth was heard of\n");
}

#[test]
fn a_mount_in_a_container_is_seen_outside_where_its_directory_is_shared() {
    let script = r#"
install_akvfs
mkdir -p shared/mnt
mount --bind shared shared
mount --make-rshared shared
for propagation in unchanged private; do
  unshare --mount --propagation $propagation sh -c 'akvfs local: shared/mnt && touch ready && exec sleep 60' &
  eventually rm ready
  if findmnt shared/mnt >/dev/null; then ls shared/mnt | grep -x secrets; else echo "not seen"; fi
  kill $(daemons)
  eventually gone
  kill $!
  wait $! || true
done
"#;
    let Some(wrote) = run(script) else { return };
    assert_eq!(wrote, "secrets\nnot seen\n");
}

/// What each of the twelve operations is to each of four users: `+` is done, `-` is refused with EACCES.
const OPERATIONS: &str = r#"
operation() { # NUMBER USER: one of the twelve, as this user
  case $1 in
    1) $2 ls mnt/secrets ;;
    2) $2 stat mnt/secrets/a/value ;;
    3) $2 cat mnt/secrets/a/value ;;
    4) $2 cat mnt/secrets/a/.meta.json ;;
    5) $2 cat mnt/files/a ;;
    6) $2 readlink -v mnt/secrets/a/versions/current ;;
    7) $2 cat mnt/backup/a ;;
    8) $2 cat mnt/.akvfs/errors ;;
    9) echo "by $2" | $2 tee mnt/secrets/a/value ;;
    10) $2 mkdir mnt/secrets/b && $2 rmdir mnt/secrets/b ;;
    11) $2 mv mnt/secrets/c mnt/deleted/ && $2 mv mnt/deleted/c mnt/secrets/ ;;
    12) echo | $2 tee mnt/.akvfs/refresh ;;
  esac
}
root() { "$@"; }
owner() { as_user 1234 "$@"; }
group() { setpriv --reuid=4321 --regid=5678 --clear-groups "$@"; }
stranger() { as_user 65534 "$@"; }
matrix() {
  for user in root owner group stranger; do
    row=
    for number in 1 2 3 4 5 6 7 8 9 10 11 12; do
      if said=$(operation $number $user 2>&1); then
        row=$row+
      else
        case $said in *"Permission denied"*) row=$row- ;; *) row="$row($number: $said)" ;; esac
      fi
    done
    echo "$user $row"
  done
}
secrets() {
  for secret in a c; do
    mkdir mnt/secrets/$secret
    printf %s value | tee mnt/secrets/$secret/value >/dev/null
  done
}
"#;

#[test]
fn twelve_operations_by_four_users() {
    let script = format!(
        r#"{OPERATIONS}
install_akvfs
mount -t akvfs local: mnt
secrets
matrix
umount mnt
mount -t akvfs local: mnt -o allow_other,uid=1234,gid=5678,file_mode=0640,dir_mode=0750
secrets
matrix
umount mnt
mount -t akvfs local: mnt -o allow_other,uid=1234,gid=5678
secrets
matrix
"#
    );
    let Some(wrote) = run(&script) else { return };
    let expected = "\
root ++++++++++++
owner ------------
group ------------
stranger ------------
root ++++++++++++
owner ++++++++++++
group +++++++-----
stranger ------------
root ++++++++++++
owner ++++++++++++
group ------------
stranger ------------
";
    assert_eq!(wrote, expected);
}

#[test]
fn what_another_user_could_have_written_is_not_believed() {
    let script = r#"
install_akvfs
openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out ca -subj /CN=x -days 1 2>/dev/null || exit 77
printf 'ttl = "1h"\n' >config
printf canary >token
printf canary >elsewhere
ln -s elsewhere link
try() { fails 32 mount -t akvfs http://127.0.0.1:9 mnt -o "lazy_auth,$1" | tail -n 1; }
chmod 0600 config token elsewhere
for file in config token ca; do
  case $file in config) option=config ;; token) option=auth=local,credentials_file ;; ca) option=ca_file ;; esac
  chmod 0622 $file
  try "$option=$PWD/$file"
  chmod 0600 $file
  chown 1234 $file
  try "$option=$PWD/$file"
  chown 0 $file
done
try "auth=local,credentials_file=$PWD/link"
mount -t akvfs http://127.0.0.1:9 mnt -o "lazy_auth,config=$PWD/config,auth=local,credentials_file=$PWD/token,ca_file=$PWD/ca"
"#;
    let Some(wrote) = run(script) else { return };
    let lines: Vec<&str> = wrote.lines().collect();
    let endings = [
        "/config: others may write to it; chmod go-w it",
        "/config: it belongs to user 1234, who is neither root nor you",
        "/token: its mode is 0622, so that others may get at it; chmod 0600 it",
        "/token: it belongs to user 1234, not to 0 or root; chown it",
        "/ca: its mode is 0622, so that others may change it; chmod go-w it",
        "/ca: it belongs to user 1234, not to 0 or root; chown it",
        "/link: it is a symbolic link, which somebody else may turn elsewhere",
    ];
    assert_eq!(lines.len(), endings.len(), "{wrote}");
    for (line, ending) in lines.iter().zip(endings) {
        assert!(line.contains(ending) && !line.contains("canary"), "{line}\nand not {ending}");
    }
}
