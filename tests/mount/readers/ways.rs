//! Ways of saving the file `$NEXT`, one for each distinct way in which the programs of the writers' tables write.

/// What a script makes of the value.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `$NEXT`.
    Replaces,
    /// `$NEXT` in git's dress.
    WrapsForGit,
    /// What stood there, and `$NEXT`.
    Appends,
    /// `$NEXT`, which is as long as what stood there.
    WritesInPlace,
    /// The first `$SIZE` bytes of what stood there.
    Cuts,
}

/// A way of saving.
pub struct Way {
    /// What must be installed.
    pub needs: &'static str,
    /// Run by bash; see [`World::bash_at`](super::super::harness::World::bash_at).
    pub script: &'static str,
    pub kind: Kind,
    /// Whether the program removes the file before it makes it anew, so that for a moment there is none.
    pub may_miss: bool,
}

const fn way(needs: &'static str, script: &'static str) -> Way {
    Way { needs, script, kind: Kind::Replaces, may_miss: false }
}

impl Way {
    const fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    const fn may_miss(mut self) -> Self {
        self.may_miss = true;
        self
    }
}

/// vim with these options.
macro_rules! vim {
    ($options:literal) => {
        way("vim", concat!("vim -u NONE -N -es -c 'set bsk= uc=1 ", $options, "' -c \"1r $NEXT\" -c 1d -c wq \"$V\""))
    };
}

/// emacs with these settings.
macro_rules! emacs {
    ($settings:literal) => {
        way(
            "emacs",
            concat!(
                "emacs -Q --batch --eval '(setq ",
                $settings,
                ")' \"$V\" --eval '(progn (setq backup-inhibited nil backup-enable-predicate (lambda (x) t)) ",
                "(erase-buffer) (insert-file-contents (getenv \"NEXT\")) (save-buffer))'"
            ),
        )
    };
}

use Kind::{Appends, Cuts, WrapsForGit, WritesInPlace};

pub const WAYS: &[Way] = &[
    // Shells.
    way("bash", r#"printf '%s\n' "$(< "$NEXT")" > "$V""#),
    way("bash", r#"{ head -c 90 "$NEXT"; tail -c +91 "$NEXT"; } > "$V""#),
    way("bash", r#"{ head -c 90 "$NEXT"; echo err >&2; tail -c +91 "$NEXT"; } > "$V" 2> /dev/null"#),
    way("bash", r#"exec 3> "$V"; head -c 90 "$NEXT" >&3; tail -c +91 "$NEXT" >&3; exec 3>&-"#),
    way("bash", r#"{ head -c 90 "$NEXT"; (sleep 0.05; tail -c +91 "$NEXT") & } > "$V"; wait"#),
    way("bash", r#"cat "$NEXT" >> "$V""#).kind(Appends),
    way("bash", r#"exec 3<> "$V"; cat "$NEXT" >&3; exec 3>&-"#).kind(WritesInPlace),
    way("dash", r#"dash -c 'cat "$NEXT" > "$V"'"#),
    way("dash", r#"dash -c '{ head -c 90 "$NEXT"; tail -c +91 "$NEXT"; } > "$V"'"#),
    way("dash", r#"dash -c 'cat "$NEXT" >> "$V"'"#).kind(Appends),
    way("busybox", r#"busybox sh -c '{ head -c 90 "$NEXT"; tail -c +91 "$NEXT"; } > "$V"'"#),
    way("cat", r#"cat "$NEXT" 1<> "$V""#).kind(WritesInPlace),
    // Tools.
    way("tee", r#"tee "$V" < "$NEXT" > /dev/null"#),
    way("tee", r#"tee -a "$V" < "$NEXT" > /dev/null"#).kind(Appends),
    way("cp", r#"cp "$NEXT" "$V""#),
    way("cp", r#"cp -b "$NEXT" "$V""#),
    way("cp", r#"cp --remove-destination "$NEXT" "$V""#).may_miss(),
    way("dd", r#"dd if="$NEXT" of="$V" bs=512 status=none"#),
    way("dd", r#"dd if="$NEXT" of="$V" bs=512 conv=fsync status=none"#),
    way("dd", r#"dd if="$NEXT" of="$V" bs=512 conv=notrunc status=none"#).kind(WritesInPlace),
    way("install", r#"install -m 600 "$NEXT" "$V""#).may_miss(),
    way("mv", r#"cp "$NEXT" "$T/$N.x" && mv "$T/$N.x" "$V""#).may_miss(),
    way("mv", r#"cp "$NEXT" "$D/.$B.x" && mv "$D/.$B.x" "$V""#),
    way("mv", r#"cp "$NEXT" "$D/.$B.x" && mv -b "$D/.$B.x" "$V""#),
    way("mktemp", r#"t=$(mktemp -p "$D") && cp "$NEXT" "$t" && mv "$t" "$V""#),
    way("tar", r#"mkdir -p "$T/$N.d" && cp "$NEXT" "$T/$N.d/$B" && tar cf - -C "$T/$N.d" "$B" | tar xf - -C "$D""#)
        .may_miss(),
    way(
        "tar",
        r#"mkdir -p "$T/$N.d" && cp "$NEXT" "$T/$N.d/$B" && tar cf - -C "$T/$N.d" "$B" | tar xf - --overwrite -C "$D""#,
    ),
    way(
        "unzip",
        r#"mkdir -p "$T/$N.d" && cd "$T/$N.d" && cp "$NEXT" "$B" && zip -q z.zip "$B" && unzip -qo z.zip -d "$D""#,
    )
    .may_miss(),
    way("rsync", r#"rsync -a "$NEXT" "$V""#),
    way("rsync", r#"rsync -b "$NEXT" "$V""#),
    way("rsync", r#"rsync --inplace "$NEXT" "$V""#),
    way("rsync", r#"cat "$V" "$NEXT" > "$T/$N.x" && rsync --append "$T/$N.x" "$V""#).kind(Appends),
    way("sed", r#"sed -i -e "1{r $NEXT" -e 'd}' "$V""#),
    way("sed", r#"sed -i.bak -e "1{r $NEXT" -e 'd}' "$V""#),
    way("truncate", r#"truncate -s "$SIZE" "$V""#).kind(Cuts),
    way("sort", r#"sort -o "$V" "$NEXT""#),
    way("split", r#"split --filter='cat >> "$V"' -b 1M "$NEXT""#).kind(Appends),
    way("git", r#"git config -f "$V" a.b "$(< "$NEXT")""#).kind(WrapsForGit),
    way("openssl", r#"openssl base64 -in "$NEXT" | openssl base64 -d -out "$V""#),
    way("curl", r#"curl -s -o "$V" "file://$NEXT""#),
    way("awk", r#"awk '{ print > ENVIRON["V"] }' "$NEXT""#),
    way("patch", r#"diff -u "$V" "$NEXT" > "$T/$N.p"; patch -s -o "$T/$N.x" "$V" "$T/$N.p" && cp "$T/$N.x" "$V""#),
    way("busybox", r#"busybox cp "$NEXT" "$V""#),
    way("busybox", r#"cp "$NEXT" "$T/$N.x" && busybox mv "$T/$N.x" "$V""#).may_miss(),
    way("busybox", r#"busybox sed -i -e "1{r $NEXT" -e 'd}' "$V""#),
    way("busybox", r#"busybox dd if="$NEXT" of="$V" bs=512 2> /dev/null"#),
    way("busybox", r#"busybox tee "$V" < "$NEXT" > /dev/null"#),
    way("busybox", r#"busybox truncate -s "$SIZE" "$V""#).kind(Cuts),
    // Editors.
    way("ed", r#"printf ',d\nr %s\nw\nq\n' "$NEXT" | ed -s "$V""#),
    way("ex", r#"printf '1r %s\n1d\nx\n' "$NEXT" | ex -s -u NONE "$V""#),
    way("view", r#"view -u NONE -N -es -c 'set bsk=' -c "1r $NEXT" -c 1d -c 'w!' -c q "$V""#),
    vim!("bkc=yes nobk nowb"),
    vim!("bkc=yes nobk wb"),
    vim!("bkc=yes bk wb"),
    vim!("bkc=no nobk nowb"),
    vim!("bkc=no nobk wb"),
    vim!("bkc=no bk wb"),
    vim!("bkc=auto nobk wb"),
    vim!("bkc=auto bk wb noswf"),
    emacs!("make-backup-files nil"),
    emacs!("backup-by-copying nil"),
    emacs!("backup-by-copying t"),
    emacs!("make-backup-files nil file-precious-flag t"),
    way(
        "nano",
        r#"python3 "$TYPE" 0000 $'\x0b\x12' insert "$NEXT"$'\r' Read $'\x0f' Write $'\r' Wrote $'\x18' -- nano -I -L "$V""#,
    ),
    way("busybox", r#"python3 "$TYPE" 0000 $':1r '"$NEXT"$'\r:1d\r:wq\r' -- busybox vi "$V""#),
    // Languages.
    way(
        "python3",
        r#"python3 -c 'import os
with open(os.environ["V"], "w") as f: f.write(open(os.environ["NEXT"]).read())'"#,
    ),
    way(
        "python3",
        r#"python3 -c 'import os
with open(os.environ["V"], "a") as f: f.write(open(os.environ["NEXT"]).read())'"#,
    )
    .kind(Appends),
    way(
        "python3",
        r#"python3 -c 'import os
with open(os.environ["V"], "r+") as f: f.write(open(os.environ["NEXT"]).read())'"#,
    )
    .kind(WritesInPlace),
    way(
        "python3",
        r#"python3 -c 'import os
fd = os.open(os.environ["V"], os.O_RDWR); new = open(os.environ["NEXT"], "rb").read()
os.ftruncate(fd, 0); os.pwrite(fd, new[90:], 90); os.pwrite(fd, new[:90], 0); os.fsync(fd); os.close(fd)'"#,
    ),
    way(
        "python3",
        r#"python3 -c 'import os
v = os.environ["V"]
with open(v + ".tmp", "w") as f: f.write(open(os.environ["NEXT"]).read())
os.replace(v + ".tmp", v)'"#,
    ),
    way(
        "python3",
        r#"python3 -c 'import os, tempfile
fd, name = tempfile.mkstemp(dir=os.environ["D"])
os.write(fd, open(os.environ["NEXT"], "rb").read()); os.fsync(fd); os.close(fd); os.rename(name, os.environ["V"])'"#,
    ),
    way(
        "python3",
        r#"python3 -c 'import os, subprocess
f = open(os.environ["V"], "w")
p = subprocess.Popen(["sh", "-c", "head -c 90 $NEXT; sleep 0.05; tail -c +91 $NEXT"], stdout=f); f.close(); p.wait()'"#,
    ),
    way(
        "python3",
        r#"python3 -c 'import os
fd = os.open(os.environ["V"], os.O_WRONLY | os.O_TRUNC); new = open(os.environ["NEXT"], "rb").read()
if os.fork() == 0: os.write(fd, new[:90]); os._exit(0)
os.wait(); os.write(fd, new[90:]); os.close(fd)'"#,
    ),
    way("python3", r#"python3 -c 'import os; os.truncate(os.environ["V"], int(os.environ["SIZE"]))'"#).kind(Cuts),
    way(
        "python3",
        r#"python3 -c 'import os, shutil
shutil.copy(os.environ["NEXT"], os.environ["NEXT"] + "x"); shutil.move(os.environ["NEXT"] + "x", os.environ["V"])'"#,
    )
    .may_miss(),
    way(
        "python3",
        r#"python3 -c 'import fileinput, os
for line in fileinput.input(os.environ["V"], inplace=True): print(open(os.environ["NEXT"]).read(), end="")'"#,
    ),
    way(
        "node",
        r#"node -e 'const fs = require("fs"); fs.writeFileSync(process.env.V, fs.readFileSync(process.env.NEXT))'"#,
    ),
    way(
        "node",
        r#"node -e 'const fs = require("fs"); fs.appendFileSync(process.env.V, fs.readFileSync(process.env.NEXT))'"#,
    )
    .kind(Appends),
    way(
        "node",
        r#"node -e 'const fs = require("fs"); fs.createReadStream(process.env.NEXT, { highWaterMark: 500 }).pipe(fs.createWriteStream(process.env.V))'"#,
    ),
    way(
        "node",
        r#"node -e 'const fs = require("fs"), v = process.env.V; fs.writeFileSync(v + ".tmp", fs.readFileSync(process.env.NEXT)); fs.renameSync(v + ".tmp", v)'"#,
    ),
    way("perl", r#"perl -i -pe 'BEGIN { open(F, "<", $ENV{NEXT}); $new = <F> } $_ = $new' "$V""#),
    way("perl", r#"perl -i.bak -pe 'BEGIN { open(F, "<", $ENV{NEXT}); $new = <F> } $_ = $new' "$V""#),
    way("perl", r#"perl -MFile::Copy -e 'copy($ENV{NEXT}, $ENV{V}) or die'"#),
    way("javac", java!("Files.write(v, Files.readAllBytes(Path.of(System.getenv(\"NEXT\"))))")),
    way(
        "javac",
        java!(
            "Path t = Files.createTempFile(v.getParent(), null, null); Files.write(t, Files.readAllBytes(Path.of(System.getenv(\"NEXT\")))); Files.move(t, v, StandardCopyOption.ATOMIC_MOVE)"
        ),
    ),
    way("javac", java!("Files.copy(Path.of(System.getenv(\"NEXT\")), v, StandardCopyOption.REPLACE_EXISTING)"))
        .may_miss(),
    way(
        "javac",
        java!(
            "try (var f = new RandomAccessFile(v.toFile(), \"rw\")) { f.setLength(0); f.write(Files.readAllBytes(Path.of(System.getenv(\"NEXT\")))); f.getFD().sync(); }"
        ),
    ),
    way("go", go!("b, e := os.ReadFile(os.Getenv(\"NEXT\")); check(e); check(os.WriteFile(v, b, 0600))")),
    way(
        "go",
        go!(
            "b, e := os.ReadFile(os.Getenv(\"NEXT\")); check(e); f, e := os.CreateTemp(filepath.Dir(v), filepath.Base(v)); check(e); f.Write(b); check(f.Sync()); check(f.Close()); check(os.Rename(f.Name(), v))"
        ),
    ),
];
