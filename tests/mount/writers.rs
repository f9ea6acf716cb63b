//! One save is one version, whatever saves. A table of programs that write an existing secret.

use super::harness::{World, has};

/// A program that saves.
pub struct Row {
    /// What must be installed.
    needs: &'static str,
    /// Run by bash; see [`World::bash`]. `$T/new` holds `new\n`.
    script: &'static str,
    before: &'static str,
    after: &'static str,
    /// How many saves it makes.
    versions: usize,
    /// Files that it was asked to leave beside the value.
    leaves: &'static [&'static str],
}

/// A row for a program that saves once.
pub const fn row(needs: &'static str, script: &'static str, after: &'static str) -> Row {
    Row { needs, script, before: "before\n", after, versions: 1, leaves: &[] }
}

impl Row {
    pub const fn before(mut self, before: &'static str) -> Self {
        self.before = before;
        self
    }

    pub const fn versions(mut self, versions: usize) -> Self {
        self.versions = versions;
        self
    }

    pub const fn leaves(mut self, leaves: &'static [&'static str]) -> Self {
        self.leaves = leaves;
        self
    }
}

/// Runs a table on one mount, a secret for each row, and prints what came of it.
pub fn check(title: &str, rows: &[Row]) {
    let names: Vec<String> = (0..rows.len()).map(|at| format!("s{at:02}")).collect();
    let secrets: Vec<_> = names.iter().zip(rows).map(|(name, row)| (name.as_str(), row.before)).collect();
    let Some(world) = World::new(&secrets, "max_writes=1000/s") else { return };
    std::fs::write(world.mount.aside("new"), "new\n").unwrap();
    std::fs::write(world.mount.aside("longer"), "before\nmore\n").unwrap();
    let mut table = format!("{title}\n{:<8} {:<8} {:<16} program\n", "right", "versions", "leftovers");
    let mut wrong = Vec::new();
    for (name, row) in names.iter().zip(rows) {
        if !has(row.needs) {
            eprintln!("SKIPPED: {} is not installed: {}", row.needs, row.script);
            continue;
        }
        let said = world.bash(name, row.script);
        let came = Outcome::of(&world, name, &names);
        table += &format!("{:<8} {:<8} {:<16} {}\n", came.value == row.after, came.versions, came.left(), row.script);
        if said.code != 0 || came != Outcome::expected(row, &names) {
            wrong.push(format!("{}\n  {said:?}\n  {came:?}", row.script));
        }
    }
    println!("{table}");
    assert!(wrong.is_empty(), "{}\nlog:\n{}", wrong.join("\n"), world.mount.log());
}

/// What the vault and the mount say after a row.
#[derive(Debug, PartialEq)]
struct Outcome {
    value: String,
    read_back: String,
    versions: usize,
    entries: Vec<String>,
    others: Vec<String>,
    deletes: u64,
    tag: Option<String>,
}

impl Outcome {
    fn of(world: &World, name: &str, names: &[String]) -> Self {
        // A look at deleted/ sends what waits to be deleted.
        let deleted = world.bash(name, "ls \"$M/deleted\"").ok();
        let mut others: Vec<_> = deleted.lines().map(str::to_owned).chain(world.vault.deleted()).collect();
        others.extend(world.vault.live().into_iter().filter(|live| !names.contains(live)));
        let mut entries: Vec<_> = world.bash(name, "ls -A \"$D\"").ok().lines().map(str::to_owned).collect();
        entries.retain(|entry| !["value", ".meta.json", "versions"].contains(&entry.as_str()));
        Self {
            value: world.vault.get(name).unwrap_or_else(|kind| format!("{kind:?}")),
            read_back: world.bash(name, "cat \"$V\"").out,
            versions: world.vault.versions(name).len() - 1,
            entries,
            others,
            deletes: world.vault.requests("delete"),
            tag: world.vault.tags(name).remove("kept"),
        }
    }

    fn expected(row: &Row, _names: &[String]) -> Self {
        Self {
            value: row.after.into(),
            read_back: row.after.into(),
            versions: row.versions,
            entries: row.leaves.iter().map(|leaf| (*leaf).to_owned()).collect(),
            others: Vec::new(),
            deletes: 0,
            tag: Some("yes".into()),
        }
    }

    fn left(&self) -> String {
        let all: Vec<_> = self.entries.iter().chain(&self.others).map(String::as_str).collect();
        if all.is_empty() { "none".into() } else { all.join(" ") }
    }
}

const SHELLS: &[Row] = &[
    row("bash", r#"echo new > "$V""#, "new\n"),
    row("bash", r#"echo more >> "$V""#, "before\nmore\n"),
    row("bash", r#"printf %s new > "$V""#, "new"),
    row("bash", r#"{ echo a; echo b; } > "$V""#, "a\nb\n"),
    row("bash", r#"( echo a; echo b ) > "$V""#, "a\nb\n"),
    row("bash", r#"{ cat "$T/new"; cat "$T/new"; } > "$V""#, "new\nnew\n"),
    row("bash", r#"{ echo 1; echo err >&2; echo 2; } > "$V""#, "1\n2\n"),
    row("bash", r#"{ { echo 1; { echo err >&2; } 2>/dev/null; echo 2; } 2>&1; echo 3; } > "$V""#, "1\n2\n3\n"),
    row("bash", r#"{ echo one; echo two > /dev/stdout; } > "$V""#, "two\n"),
    row("bash", r#"exec 3> "$V"; echo a >&3; echo b >&3; exec 3>&-"#, "a\nb\n"),
    row("bash", r#"exec > "$V"; echo a; echo b"#, "a\nb\n"),
    row("bash", r#"exec 3<> "$V"; echo x >&3; exec 3>&-"#, "x\nfore\n"),
    row("bash", r#"{ echo early; (sleep 0.2; echo late) & } > "$V"; wait"#, "early\nlate\n"),
    row("bash", r#"( (sleep 0.2; echo late) & ) > "$V"; sleep 0.5"#, "late\n"),
    row("bash", r#"for i in 1 2 3; do echo $i; done > "$V""#, "1\n2\n3\n"),
    row("bash", r#": > "$V""#, ""),
    row("bash", r#"> "$V""#, ""),
    row("bash", r#"set -C; echo new >| "$V""#, "new\n"),
    row("bash", r#"cat > "$V" <<< new"#, "new\n"),
    row("bash", r#"echo new | cat > "$V""#, "new\n"),
    row("bash", r#"cd "$D" && echo new > value"#, "new\n"),
    row("dash", r#"dash -c 'echo new > "$V"'"#, "new\n"),
    row("dash", r#"dash -c 'echo more >> "$V"'"#, "before\nmore\n"),
    row("dash", r#"dash -c '{ echo a; echo b; } > "$V"'"#, "a\nb\n"),
    row("dash", r#"dash -c '{ echo 1; echo err >&2; cat "$T/new"; } > "$V"'"#, "1\nnew\n"),
    row("dash", r#"dash -c 'exec 3> "$V"; echo a >&3; echo b >&3; exec 3>&-'"#, "a\nb\n"),
    row("dash", r#"dash -c '{ echo early; (sleep 0.2; echo late) & } > "$V"; wait'"#, "early\nlate\n"),
    row("dash", r#"dash -c ': > "$V"'"#, ""),
    row("busybox", r#"busybox sh -c 'echo new > "$V"'"#, "new\n"),
    row("busybox", r#"busybox sh -c 'echo more >> "$V"'"#, "before\nmore\n"),
    row("busybox", r#"busybox sh -c '{ echo a; echo b; } > "$V"'"#, "a\nb\n"),
    row("busybox", r#"busybox sh -c '{ echo 1; echo err >&2; cat "$T/new"; } > "$V"'"#, "1\nnew\n"),
    row("busybox", r#"busybox sh -c 'exec 3> "$V"; echo a >&3; echo b >&3; exec 3>&-'"#, "a\nb\n"),
    row("busybox", r#"busybox sh -c ': > "$V"'"#, ""),
];

const TOOLS: &[Row] = &[
    row("tee", r#"echo new | tee "$V" > /dev/null"#, "new\n"),
    row("tee", r#"echo more | tee -a "$V" > /dev/null"#, "before\nmore\n"),
    row("cp", r#"cp "$T/new" "$V""#, "new\n"),
    row("cp", r#"cp -p "$T/new" "$V""#, "new\n"),
    row("cp", r#"cp -f "$T/new" "$D/value""#, "new\n"),
    row("cp", r#"cp --remove-destination "$T/new" "$V""#, "new\n"),
    row("cp", r#"cp -b "$T/new" "$V""#, "new\n").leaves(&["value~"]),
    row("dd", r#"dd if="$T/new" of="$V" status=none"#, "new\n"),
    row("dd", r#"dd if="$T/new" of="$V" conv=fsync status=none"#, "new\n"),
    row("dd", r#"dd if="$T/new" of="$V" conv=notrunc status=none"#, "new\nre\n"),
    row("install", r#"install -m 600 "$T/new" "$V""#, "new\n"),
    row("install", r#"install -b "$T/new" "$V""#, "new\n").leaves(&["value~"]),
    row("mv", r#"cp "$T/new" "$T/x" && mv "$T/x" "$V""#, "new\n"),
    row("mv", r#"cp "$T/new" "$T/value" && mv -f "$T/value" "$D""#, "new\n"),
    row("mv", r#"cp "$T/new" "$D/value.tmp" && mv "$D/value.tmp" "$V""#, "new\n"),
    row("mv", r#"cp "$T/new" "$D/.value.x" && mv -b "$D/.value.x" "$V""#, "new\n").leaves(&["value~"]),
    row("tar", r#"cp "$T/new" "$T/value" && tar cf - -C "$T" value | tar xf - -C "$D""#, "new\n"),
    row("tar", r#"cp "$T/new" "$T/value" && tar cf - -C "$T" value | tar xf - --overwrite -C "$D""#, "new\n"),
    row("tar", r#"cp "$T/new" "$T/value" && tar cf - -C "$T" value | tar xf - --unlink-first -C "$D""#, "new\n"),
    row("unzip", r#"cp "$T/new" "$T/value" && cd "$T" && zip -q z.zip value && unzip -qo z.zip -d "$D""#, "new\n"),
    row("rsync", r#"rsync "$T/new" "$V""#, "new\n"),
    row("rsync", r#"rsync -a "$T/new" "$V""#, "new\n"),
    row("rsync", r#"rsync --inplace "$T/new" "$V""#, "new\n"),
    row("rsync", r#"rsync --append "$T/longer" "$V""#, "before\nmore\n"),
    row("sed", r#"sed -i s/before/new/ "$V""#, "new\n"),
    row("sed", r#"sed -i.bak s/before/new/ "$V""#, "new\n").leaves(&["value.bak"]),
    row("truncate", r#"truncate -s 3 "$V""#, "bef"),
    row("truncate", r#"truncate -s 0 "$V""#, ""),
    row("truncate", r#"truncate -s +2 "$V""#, "before\n\0\0"),
    row("sort", r#"sort -o "$V" "$V""#, "1\n2\n").before("2\n1\n"),
    row("git", r#"git config -f "$V" a.b new"#, "[a]\n\tb = new\n").before("[a]\n\tb = old\n"),
    row("git", r#"git config -f "$V" a.b 1 && git config -f "$V" a.c 2"#, "[a]\n\tb = 1\n\tc = 2\n")
        .before("[a]\n")
        .versions(2),
    row("openssl", r#"openssl base64 -in "$T/new" -out "$V""#, "bmV3Cg==\n"),
    row("curl", r#"curl -s -o "$V" "file://$T/new""#, "new\n"),
    row("awk", r#"awk 'BEGIN { print "new" > ENVIRON["V"] }'"#, "new\n"),
    row("split", r#"split --filter='cat >> "$V"' -b 2 "$T/new""#, "before\nnew\n").versions(2),
    row("busybox", r#"busybox cp "$T/new" "$V""#, "new\n"),
    row("busybox", r#"cp "$T/new" "$T/x" && busybox mv "$T/x" "$V""#, "new\n"),
    row("busybox", r#"busybox sed -i s/before/new/ "$V""#, "new\n"),
    row("busybox", r#"busybox dd if="$T/new" of="$V" 2>/dev/null"#, "new\n"),
    row("busybox", r#"echo new | busybox tee "$V" >/dev/null"#, "new\n"),
    row("busybox", r#"cp "$T/new" "$T/value" && tar cf - -C "$T" value | busybox tar xf - -C "$D""#, "new\n"),
    row("busybox", r#"busybox truncate -s 3 "$V""#, "bef"),
    row("cp", r#"cp "$V" "$V.bak" && cp "$T/new" "$V" && rm "$V.bak""#, "new\n"),
    row("cp", r#"echo before | cp /dev/stdin "$V""#, "before\n").versions(0),
    row("touch", r#"touch "$V" && chmod 600 "$V" && chown 0 "$V""#, "before\n").versions(0),
];

const EDITORS: &[Row] = &[
    row("ed", r#"printf 's/before/new/\nw\nq\n' | ed -s "$V""#, "new\n"),
    row("ex", r#"printf 's/before/new/\nx\n' | ex -s -u NONE "$V""#, "new\n"),
    row("vim", r#"vim -u NONE -N -es -c 'set bsk= bkc=yes wb' -c s/before/new/ -c wq "$V""#, "new\n"),
    row("vim", r#"vim -u NONE -N -es -c 'set bsk= bkc=no wb' -c s/before/new/ -c wq "$V""#, "new\n"),
    row("vim", r#"vim -u NONE -N -es -c 'set bsk= bkc=auto wb' -c s/before/new/ -c wq "$V""#, "new\n"),
    row("vim", r#"vim -u NONE -N -es -c 'set bsk= bkc=yes nowb' -c s/before/new/ -c wq "$V""#, "new\n"),
    row("vim", r#"vim -u NONE -N -es -c 'set bsk= bkc=no nowb' -c s/before/new/ -c wq "$V""#, "new\n"),
    row("vim", r#"vim -u NONE -N -es -c 'set bsk= bkc=yes backup' -c s/before/new/ -c wq "$V""#, "new\n").leaves(&["value~"]),
    row("vim", r#"vim -u NONE -N -es -c 'set bsk= bkc=no backup' -c s/before/new/ -c wq "$V""#, "new\n").leaves(&["value~"]),
    row("vim", r#"vim -u NONE -N -es -n -c 'set bsk=' -c s/before/new/ -c wq "$V""#, "new\n"),
    row("vim", r#"vim -u NONE -N -es -c s/before/new/ -c w -c s/new/newer/ -c wq "$V""#, "newer\n").versions(2),
    row("vim", r#"vim -u NONE -N -es -c q "$V""#, "before\n").versions(0),
    row("emacs", r#"emacs -Q --batch "$V" --eval '(progn (setq backup-inhibited nil backup-enable-predicate (lambda (x) t)) (replace-regexp "before" "new") (save-buffer))'"#, "new\n")
        .leaves(&["value~"]),
    row(
        "emacs",
        r#"emacs -Q --batch --eval '(setq backup-by-copying t)' "$V" --eval '(progn (setq backup-inhibited nil backup-enable-predicate (lambda (x) t)) (replace-regexp "before" "new") (save-buffer))'"#,
        "new\n",
    )
    .leaves(&["value~"]),
    row("nano", r#"(sleep 0.5; printf 'new\r'; sleep 0.3; printf '\x0f'; sleep 0.2; printf '\r'; sleep 0.3; printf '\x18'; sleep 0.3) | TERM=xterm script -qec "nano -I '$V'" /dev/null > /dev/null"#, "new\nbefore\n"),
    row("busybox", r#"(sleep 0.3; printf 'cwnew'; sleep 0.2; printf '\x1b'; sleep 0.3; printf ':wq\r'; sleep 0.3) | TERM=xterm script -qec "busybox vi '$V'" /dev/null > /dev/null"#, "new\n"),
];

const LANGUAGES: &[Row] = &[
    row("python3", r#"python3 -c 'import os; f = open(os.environ["V"], "w"); f.write("new\n"); f.close()'"#, "new\n"),
    row("python3", r#"python3 -c 'import os; open(os.environ["V"], "w").write("new\n")'"#, "new\n"),
    row("python3", r#"python3 -c 'import os; open(os.environ["V"], "a").write("more\n")'"#, "before\nmore\n"),
    row("python3", r#"python3 -c 'import os; f = open(os.environ["V"], "r+"); f.seek(2); f.write("X")'"#, "beXore\n"),
    row(
        "python3",
        r#"python3 -c 'import os; f = open(os.environ["V"], "w"); f.write("new\n"); f.flush(); os.fsync(f.fileno())'"#,
        "new\n",
    ),
    row(
        "python3",
        r#"python3 -c 'import os
v = os.environ["V"]
with open(v + ".tmp", "w") as f: f.write("new\n")
os.replace(v + ".tmp", v)'"#,
        "new\n",
    ),
    row(
        "python3",
        r#"python3 -c 'import os, tempfile
v = os.environ["V"]
fd, name = tempfile.mkstemp(dir=os.environ["D"])
os.write(fd, b"new\n"); os.fsync(fd); os.close(fd); os.rename(name, v)'"#,
        "new\n",
    ),
    row(
        "python3",
        r#"python3 -c 'import os, subprocess
f = open(os.environ["V"], "w")
p = subprocess.Popen(["sh", "-c", "echo a; sleep 0.2; echo b"], stdout=f); f.close(); p.wait()'"#,
        "a\nb\n",
    ),
    row(
        "python3",
        r#"python3 -c 'import os
fd = os.open(os.environ["V"], os.O_WRONLY | os.O_TRUNC)
if os.fork() == 0: os.write(fd, b"child\n"); os._exit(0)
os.wait(); os.write(fd, b"parent\n"); os.close(fd)'"#,
        "child\nparent\n",
    ),
    row(
        "python3",
        r#"python3 -c 'import os
fd = os.open(os.environ["V"], os.O_RDWR)
os.ftruncate(fd, 3); os.pwrite(fd, b"!", 5); os.close(fd)'"#,
        "bef\0\0!",
    ),
    row(
        "python3",
        r#"python3 -c 'import os, shutil; shutil.copy(os.environ["T"] + "/new", os.environ["V"])'"#,
        "new\n",
    ),
    row(
        "python3",
        r#"python3 -c 'import os, shutil
shutil.copy(os.environ["T"] + "/new", os.environ["T"] + "/x"); shutil.move(os.environ["T"] + "/x", os.environ["V"])'"#,
        "new\n",
    ),
    row("python3", r#"python3 -c 'import os; os.truncate(os.environ["V"], 3)'"#, "bef"),
    row(
        "python3",
        r#"python3 -c 'import os
fd = os.open(os.environ["V"], os.O_WRONLY | os.O_TRUNC)
os.write(fd, b"half"); os.kill(os.getpid(), 9)' ; sleep 0.3"#,
        "before\n",
    )
    .versions(0),
    row("node", r#"node -e 'require("fs").writeFileSync(process.env.V, "new\n")'"#, "new\n"),
    row("node", r#"node -e 'require("fs").writeFile(process.env.V, "new\n", e => { if (e) throw e })'"#, "new\n"),
    row("node", r#"node -e 'require("fs").promises.writeFile(process.env.V, "new\n")'"#, "new\n"),
    row("node", r#"node -e 'require("fs").appendFileSync(process.env.V, "more\n")'"#, "before\nmore\n"),
    row(
        "node",
        r#"node -e 'const s = require("fs").createWriteStream(process.env.V); s.write("a\n"); s.end("b\n")'"#,
        "a\nb\n",
    ),
    row(
        "node",
        r#"node -e 'const fs = require("fs"), v = process.env.V; fs.writeFileSync(v + ".tmp", "new\n"); fs.renameSync(v + ".tmp", v)'"#,
        "new\n",
    ),
    row("node", r#"node -e 'require("fs").copyFileSync(process.env.T + "/new", process.env.V)'"#, "new\n"),
    row("perl", r#"perl -i -pe s/before/new/ "$V""#, "new\n"),
    row("perl", r#"perl -i.bak -pe s/before/new/ "$V""#, "new\n").leaves(&["value.bak"]),
    row("perl", r#"perl -e 'open(F, ">", $ENV{V}) or die; print F "new\n"; close(F) or die'"#, "new\n"),
    row("perl", r#"perl -MFile::Copy -e 'copy("$ENV{T}/new", $ENV{V}) or die'"#, "new\n"),
    row(
        "java",
        r#"echo 'import java.nio.file.*; class W { public static void main(String[] a) throws Exception { Files.writeString(Path.of(a[0]), "new\n"); } }' > "$T/W.java" && java "$T/W.java" "$V""#,
        "new\n",
    ),
];

#[test]
fn shells_save_once() {
    check("shells", SHELLS);
}

#[test]
fn tools_save_once() {
    check("tools", TOOLS);
}

#[test]
fn editors_save_once() {
    check("editors", EDITORS);
}

#[test]
fn languages_save_once() {
    check("languages", LANGUAGES);
}
