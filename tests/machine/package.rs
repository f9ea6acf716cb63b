//! A newcomer's way: install the package, a line in fstab, use it, mount it again, remove it.

use super::support::run;

const MAKE: &str = r#"
for program in dpkg-deb dpkg readelf strip; do
  command -v $program >/dev/null || { echo SKIPPED; exit; }
done
dpkg --status fuse3 >/dev/null 2>&1 || { echo SKIPPED; exit; }
rm -f /var/lib/man-db/auto-update # its index takes longer than all the rest
export DPKG_DEB_COMPRESSOR_TYPE=none
"$HERE/scripts/package" --binary "$AKVFS" --out "$1/out" >/dev/null
install_package() { dpkg --install --force-unsafe-io "$1"/out/akvfs_*.deb >log 2>&1 || { cat log >&2; exit 1; }; }
"#;

fn with_package(script: &str) -> Option<String> {
    let wrote = run(&format!("{MAKE}\n{script}"))?;
    if wrote == "SKIPPED\n" {
        skipped!("a package cannot be made or installed here (apt-get install dpkg binutils fuse3)");
        return None;
    }
    Some(wrote)
}

#[test]
fn it_is_installed_used_and_removed() {
    let script = r#"
install_package "$1"
dpkg --listfiles akvfs >files
akvfs --version
cat >/etc/fstab <<END
local:$1/vault.redb $1/mnt akvfs nofail,_netdev,umask=027 0 0
END
mount -a
mount mnt 2>/dev/null || true
grep -c "$1/mnt .* fuse.akvfs" /proc/self/mountinfo
findmnt --noheadings --output SOURCE mnt | sed "s:$1::"
mkdir mnt/secrets/a
printf %s first | tee mnt/secrets/a/value >/dev/null
umount mnt
eventually gone
mount -a
cat mnt/secrets/a/value
printf %s second | tee mnt/secrets/a/value >/dev/null
cat mnt/secrets/a/value
umount mnt
eventually gone
dpkg --remove --force-unsafe-io akvfs >log 2>&1
dpkg --purge akvfs >>log 2>&1 || true
while read -r path; do
  case $path in
    *akvfs*) if [ -e "$path" ] || [ -L "$path" ]; then echo "left: $path"; fi ;;
  esac
done <files
fails 32 mount -a
"#;
    let Some(wrote) = with_package(script) else { return };
    let lines: Vec<&str> = wrote.lines().collect();
    assert_eq!(lines[0], format!("akvfs {}", env!("CARGO_PKG_VERSION")), "{wrote}");
    assert_eq!(lines[1..3], ["1", "local:/vault.redb"], "{wrote}");
    assert!(lines[3].starts_with("firstsecond"), "{wrote}");
    assert!(!wrote.contains("left: "), "{wrote}");
}

/// The whole way behind the installation: examine, a line in fstab, use it, "reboot", somebody rotates, the log says.
const WAY: &str = r#"
akvfs serve --listen 127.0.0.1:0 --store vault.redb >served &
server=$!
eventually grep -q 'listening on' served
vault=$(sed 's/.* //' served)
akvfs doctor "$vault" --write | awk '{ print $1 }' | sort -u | tr '\n' ' '
echo
cat >/etc/fstab <<END
$vault $PWD/mnt akvfs ttl=10min,nofail,_netdev,audit_file=$PWD/audit 0 0
END
mount -a
mkdir mnt/secrets/db
printf %s first | tee mnt/secrets/db/value >/dev/null
akvfs list | grep "$PWD/mnt" | sed "s:$PWD::; s:http[^ ]*:VAULT:"
umount mnt # as at the end of a day
eventually sh -c "! grep -q ' $PWD/mnt ' /proc/self/mountinfo"
mount -a   # as at boot
cat mnt/secrets/db/value
echo
mkdir other
akvfs mount "$vault" other
printf %s rotated | tee other/secrets/db/value >/dev/null # by somebody else
akvfs unmount other
cat mnt/secrets/db/value
echo " before ttl is over"
akvfs refresh mnt db
cat mnt/files/db
echo
mkdir mnt/elsewhere 2>/dev/null || true
akvfs status mnt | grep -c 'mkdir elsewhere: EPERM'
grep -c '"path":"secrets/db/value","for":"read"' audit
umount mnt
kill $server
"#;
const WALKED: &str = "ok skipped \nVAULT  /mnt  rw  answers\nfirst\nfirst before ttl is over\nrotated\n1\n2\n";

#[test]
fn a_newcomers_way_is_walked_from_the_package_to_its_removal() {
    let script = format!(
        r#"
install_package "$1"
{WAY}
dpkg --remove --force-unsafe-io akvfs >log 2>&1
[ -e /usr/bin/akvfs ] || echo gone
"#
    );
    let Some(wrote) = with_package(&script) else { return };
    assert_eq!(wrote, format!("{WALKED}gone\n"));
}

/// A root of Debian's with fuse3 and nothing else, as `.ci/run` makes it.
const CLEAN: &str = "AKVFS_CLEAN";
/// A program that needs no library, as `scripts/package --static` makes it.
const STATIC: &str = "AKVFS_STATIC";

/// Whether a file that a variable names is there.
fn given(variable: &str, how: &str) -> bool {
    let there = std::env::var_os(variable).is_some_and(|path| std::path::Path::new(&path).is_file());
    if !there {
        skipped!("{variable} names no file; {how}");
    }
    there
}

#[test]
fn a_newcomers_way_is_walked_on_a_clean_machine() {
    if !given(CLEAN, "make one: mmdebstrap --variant=minbase --include=fuse3,ca-certificates bookworm FILE.tar") {
        return;
    }
    let functions = super::support::FUNCTIONS;
    let script = format!(
        r#"
mkdir clean
tar -xf "$AKVFS_CLEAN" -C clean --exclude './dev/*'
mount --rbind /dev clean/dev
mount -t proc none clean/proc
mkdir clean/home/newcomer
cp out/akvfs_*.deb clean/home/newcomer/
cat >clean/way <<'WAY'
set -eu
{functions}
cd /home/newcomer
mkdir mnt
export DEBIAN_FRONTEND=noninteractive
apt-get install -y ./akvfs_*.deb >log 2>&1 || {{ cat log >&2; exit 1; }}
{WAY}
apt-get purge -y akvfs >log 2>&1 || {{ cat log >&2; exit 1; }}
find / -xdev -name '*akvfs*' -not -path '/proc/*' -not -path '/var/lib/apt/*' -not -path '/home/*' | sed 's/^/left: /'
WAY
env --ignore-environment PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot clean bash /way
"#
    );
    let Some(wrote) = with_package(&script) else { return };
    assert_eq!(wrote, WALKED);
}

#[test]
fn the_other_package_has_the_same_files_and_its_program_runs() {
    let script = r#"
command -v rpm2cpio >/dev/null && command -v cpio >/dev/null || { echo SKIPPED; exit; }
ls "$1"/out/*.rpm >/dev/null 2>&1 || { echo SKIPPED; exit; }
mkdir unpacked
(cd unpacked && rpm2cpio "$1"/out/*.rpm | cpio --extract --make-directories --quiet)
dpkg --contents "$1"/out/*.deb | awk '$1 !~ /^d/ { print $6 }' | sed 's:^\./::; s:vendor-completions/_akvfs:site-functions/_akvfs:' | sort >deb
(cd unpacked && find . -type f -o -type l) | sed 's:^\./::' | sort >rpm
diff deb rpm
unpacked/usr/bin/akvfs --version
rpm --query --requires --package "$1"/out/*.rpm 2>/dev/null | grep -x fuse3
"#;
    let Some(wrote) = with_package(script) else { return };
    assert_eq!(wrote, format!("akvfs {}\nfuse3\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_other_package_is_installed_used_and_removed_by_its_own_program() {
    let script = r#"
command -v rpm >/dev/null || { echo SKIPPED; exit; }
ls "$1"/out/*.rpm >/dev/null 2>&1 || { echo SKIPPED; exit; }
mkdir red
there() { rpm --root "$1/red" "${@:2}"; }
there "$1" --initdb
there "$1" --install --nodeps "$1"/out/*.rpm
there "$1" --query akvfs
there "$1" --verify --nodeps akvfs
there "$1" --query --list akvfs | sort >files
grep -c . files
# Its files are where they would be, but for the libraries: those are this machine's.
mount --bind red/usr/bin/akvfs "$AKVFS"
red/usr/sbin/mount.akvfs local: mnt
findmnt --noheadings --output SOURCE,FSTYPE mnt
mkdir mnt/secrets/a
printf %s value | tee mnt/secrets/a/value
red/usr/bin/akvfs unmount mnt
umount "$AKVFS"
there "$1" --erase akvfs
there "$1" --query akvfs || true
while read -r path; do [ ! -e "red$path" ] || echo "left: $path"; done <files
"#;
    let Some(wrote) = with_package(script) else { return };
    if wrote == "SKIPPED\n" {
        return skipped!("no .rpm can be made or installed here (apt-get install rpm)");
    }
    let lines: Vec<&str> = wrote.lines().collect();
    let version = env!("CARGO_PKG_VERSION");
    assert!(lines[0].starts_with(&format!("akvfs-{version}-1.")), "{wrote}");
    assert!(lines[1].parse::<u32>().is_ok_and(|count| count > 20), "nothing differs, and it has files: {wrote}");
    assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>(), ["local:", "fuse.akvfs"]);
    assert_eq!(lines[3..], ["valuepackage akvfs is not installed"], "{wrote}");
}

/// Answers every question for an address with 10.1.2.3.
const RESOLVER: &str = r#"
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
open("ready", "w")
while True:
    asked, whom = server.recvfrom(512)
    end = asked.index(b"\0", 12) + 5
    address = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\1\2\3" if asked[end - 4 : end - 2] == b"\0\1" else b""
    head = asked[:2] + b"\x81\x80\0\1\0" + bytes([bool(address)]) + bytes(4)
    server.sendto(head + asked[12:end] + address, whom)
"#;

#[test]
fn a_static_program_runs_where_there_is_nothing_and_finds_names() {
    if !given(STATIC, "scripts/package --static makes target/package/akvfs") {
        return;
    }
    let script = format!(
        r#"
command -v python3 ip >/dev/null || {{ echo SKIPPED; exit; }}
mkdir -p bare/dev bare/proc bare/etc bare/mnt
cp "$AKVFS_STATIC" bare/akvfs
readelf -d bare/akvfs | grep NEEDED || true
mount --bind /dev bare/dev
mount -t proc none bare/proc
bare() {{ env --ignore-environment /usr/sbin/chroot bare /akvfs "$@"; }}
bare mount local: /mnt
mkdir bare/mnt/secrets/a
printf %s value | tee bare/mnt/secrets/a/value
bare list
bare unmount /mnt
bare doctor https://in-hosts.test 2>/dev/null | grep -o 'apt-get install ca-certificates.*' # it cannot know whom to trust
mkdir -p bare/etc/ssl/certs
cp /etc/ssl/certs/ca-certificates.crt bare/etc/ssl/certs/
echo 10.9.8.7 in-hosts.test >bare/etc/hosts
echo nameserver 127.0.0.1 >bare/etc/resolv.conf
cat >resolver.py <<'END'
{RESOLVER}
END
cat >ask <<'END'
set -eu
ip link set lo up
python3 resolver.py &
trap 'kill $!' EXIT
until [ -f ready ]; do sleep 0.05; done
for host in in-hosts.test in-dns.test; do
  env --ignore-environment /usr/sbin/chroot bare /akvfs doctor "https://$host" -o timeout=5s | grep ' name ' || true
done
END
unshare --net bash ask 2>/dev/null
"#
    );
    let Some(wrote) = run(&script) else { return };
    if wrote == "SKIPPED\n" {
        return skipped!("python3 or ip is missing (apt-get install python3 iproute2)");
    }
    let expected = "\
valuelocal:  /mnt  rw  answers
apt-get install ca-certificates, or name a file of authorities in SSL_CERT_FILE
ok       name         in-hosts.test is 10.9.8.7 (private)
ok       name         in-dns.test is 10.1.2.3 (private)
";
    assert_eq!(wrote, expected);
}

#[test]
fn the_image_mounts_is_probed_and_ends_as_the_sidecars_manifest_has_it() {
    if !given(STATIC, "scripts/package --static makes target/package/akvfs") {
        return;
    }
    let script = r#"
image=$(dirname "$AKVFS_STATIC")/akvfs-image.tar
[ -f "$image" ] && command -v buildah >/dev/null || { echo SKIPPED; exit; }
there() { buildah --root "$1/images" --runroot "$1/run" --storage-driver vfs "${@:2}"; }
there "$1" pull --quiet "oci-archive:$image" >name
there "$1" from --name sidecar "$(cat name)" >/dev/null
root=$(there "$1" mount sidecar)
(cd "$root" && find . -type f | sort)
there "$1" inspect --type container --format '{{range .OCIv1.Config.Entrypoint}}{{.}} {{end}}{{.OCIv1.Config.Env}}' sidecar
echo
mkdir -p "$root"/dev "$root"/proc "$root"/vault volume
mount --bind volume volume
mount --make-shared volume # as the kubelet makes it
mount --bind volume "$root/vault"
mkdir volume/mount
mount --bind /dev "$root/dev"
mount -t proc none "$root/proc"
inside() { env --ignore-environment PATH=/usr/bin /usr/sbin/chroot "$root" "$@"; }
inside akvfs mount --foreground local: /vault/mount -o allow_other,uid=1000,gid=1000,auth=local,log_format=json 2>log &
probe=$(sed -n 's/.*exec: { command: \[akvfs, status, \(.*\)\] }/\1/p' "$HERE/dist/container/sidecar.yaml")
eventually inside akvfs status "$probe"
as_user 1000 sh -c 'cd volume/mount && mkdir secrets/db && printf %s hunter2 | tee secrets/db/value >/dev/null && cat files/db'
echo
inside akvfs unmount --lazy /vault/mount
wait $!
head -n 1 log | grep -o '"message":"akvfs [^ ]* has mounted local: at [^:]*'
"#;
    let Some(wrote) = run(script) else { return };
    if wrote == "SKIPPED\n" {
        return skipped!("there is no image beside the static program, or no buildah (apt-get install buildah)");
    }
    let expected = format!(
        "\
./etc/ssl/certs/ca-certificates.crt
./usr/bin/akvfs
akvfs mount --foreground [PATH=/usr/bin]
hunter2
\"message\":\"akvfs {} has mounted local: at /vault/mount
",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(wrote, expected);
}

#[test]
fn what_is_beside_the_program_is_found() {
    let script = r#"
install_package "$1"
ls -l /usr/sbin/mount.akvfs /usr/sbin/mount.fuse.akvfs | sed 's/.* -> //'
if command -v man >/dev/null; then
  man --path >/dev/null
  man --where 1 akvfs
  man --where 8 mount.akvfs
fi
if command -v systemd-analyze >/dev/null; then
  systemd-analyze verify akvfs@contoso.service 2>&1
fi
for file in /usr/share/bash-completion/completions/akvfs /usr/share/zsh/vendor-completions/_akvfs \
  /usr/share/fish/vendor_completions.d/akvfs.fish /usr/share/doc/akvfs/copyright \
  /usr/lib/systemd/system/plocate-updatedb.service.d/akvfs.conf; do
  [ -s $file ] || echo "missing: $file"
done
mount -t fuse.akvfs local: mnt
findmnt --noheadings --output SOURCE,FSTYPE mnt
dpkg --verify akvfs
"#;
    let Some(wrote) = with_package(script) else { return };
    assert!(wrote.starts_with("../bin/akvfs\n../bin/akvfs\n"), "{wrote}");
    assert!(!wrote.contains("missing: "), "{wrote}");
    let rest: Vec<&str> = wrote.lines().skip(2).filter(|line| !line.starts_with("/usr/share/man/man")).collect();
    assert_eq!(rest.len(), 1, "nothing that systemd or dpkg finds wrong: {wrote}");
    assert_eq!(rest[0].split_whitespace().collect::<Vec<_>>(), ["local:", "fuse.akvfs"]);
}

#[test]
fn the_same_sources_make_the_same_package() {
    let script = r#"
"$HERE/scripts/package" --binary "$AKVFS" --out "$1/again" >/dev/null
cmp "$1"/out/*.deb "$1"/again/*.deb
fails 1 "$HERE/scripts/package" --binary
"#;
    let Some(wrote) = with_package(script) else { return };
    assert!(wrote.starts_with("package: usage: "), "{wrote}");
}

#[test]
fn locate_does_not_look_into_vaults() {
    let script = r#"
command -v updatedb.plocate >/dev/null || { echo SKIPPED; exit; }
install_akvfs
mount -t akvfs local: mnt
mkdir mnt/secrets/hidden-one
command=$(sed -n 's/^ExecStart=\(.\)/\1/p' "$HERE/dist/systemd/plocate-updatedb.conf")
$command --output "$1/db" --database-root "$1" --prunepaths "" --require-visibility no
plocate --database "$1/db" hidden-one || echo "not found"
"#;
    let Some(wrote) = run(script) else { return };
    if wrote == "SKIPPED\n" {
        return skipped!("plocate is missing (apt-get install plocate)");
    }
    assert_eq!(wrote, "not found\n");
}
