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

/// The whole way: examine, a line in fstab, use it, "reboot", somebody rotates, the log says, and away with it.
#[test]
fn a_newcomers_way_is_walked_from_the_package_to_its_removal() {
    let script = r#"
install_package "$1"
akvfs serve --listen 127.0.0.1:0 --store "$1/vault.redb" >served &
server=$!
eventually grep -q 'listening on' served
vault=$(sed 's/.* //' served)
akvfs doctor "$vault" --write | awk '{ print $1 }' | sort -u | tr '\n' ' '
echo
cat >/etc/fstab <<END
$vault $1/mnt akvfs ttl=10min,nofail,_netdev,audit_file=$1/audit 0 0
END
mount -a
mkdir mnt/secrets/db
printf %s first | tee mnt/secrets/db/value >/dev/null
akvfs list | grep "$1/mnt" | sed "s:$1::; s:http[^ ]*:VAULT:"
umount mnt # as at the end of a day
eventually sh -c "! grep -q ' $1/mnt ' /proc/self/mountinfo"
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
dpkg --remove --force-unsafe-io akvfs >log 2>&1
[ -e /usr/bin/akvfs ] || echo gone
"#;
    let Some(wrote) = with_package(script) else { return };
    let expected = "ok skipped \nVAULT  /mnt  rw  answers\nfirst\nfirst before ttl is over\nrotated\n1\n2\ngone\n";
    assert_eq!(wrote, expected);
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
