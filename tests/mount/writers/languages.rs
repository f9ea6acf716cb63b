//! What programs do through the libraries of their language.

use super::{Row, check, row};

pub const LANGUAGES: &[Row] = &[
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
    row("perl", r#"perl -i.bak -pe s/before/new/ "$V""#, "new\n").leaves(&[".bak"]),
    row("perl", r#"perl -e 'open(F, ">", $ENV{V}) or die; print F "new\n"; close(F) or die'"#, "new\n"),
    row("perl", r#"perl -MFile::Copy -e 'copy("$ENV{T}/new", $ENV{V}) or die'"#, "new\n"),
    row("python3", r#"python3 -c 'import os, pathlib; pathlib.Path(os.environ["V"]).write_text("new\n")'"#, "new\n"),
    row(
        "python3",
        r#"python3 -c 'import os, tempfile
with tempfile.NamedTemporaryFile("w", dir=os.environ["D"], delete=False) as f: f.write("new\n")
os.replace(f.name, os.environ["V"])'"#,
        "new\n",
    ),
    row(
        "python3",
        r#"python3 -c 'import fileinput, os
for line in fileinput.input(os.environ["V"], inplace=True): print(line.replace("before", "new"), end="")'"#,
        "new\n",
    ),
    row(
        "python3",
        r#"python3 -c 'import configparser, os
c = configparser.ConfigParser(); c.read(os.environ["V"]); c["a"]["b"] = "new"
with open(os.environ["V"], "w") as f: c.write(f)'"#,
        "[a]\nb = new\n\n",
    )
    .before("[a]\nb = old\n"),
    row(
        "node",
        r#"node -e '(async () => {
const f = await require("fs/promises").open(process.env.V, "w"); await f.writeFile("new\n"); await f.sync(); await f.close() })()'"#,
        "new\n",
    ),
    // As write-file-atomic does.
    row(
        "node",
        r#"node -e 'const fs = require("fs"), v = process.env.V, t = v + ".3746284912";
fs.writeFileSync(t, "new\n"); fs.renameSync(t, v)'"#,
        "before\n",
    )
    .refused(1, "EINVAL: invalid argument, open"),
    row("javac", java!("Files.writeString(v, \"new\\n\")"), "new\n"),
    row("javac", java!("Files.write(v, List.of(\"new\"), StandardOpenOption.SYNC)"), "new\nre\n"),
    row("javac", java!("Files.writeString(v, \"more\\n\", StandardOpenOption.APPEND)"), "before\nmore\n"),
    row(
        "javac",
        java!("Files.copy(Path.of(System.getenv(\"T\"), \"new\"), v, StandardCopyOption.REPLACE_EXISTING)"),
        "new\n",
    ),
    row(
        "javac",
        java!(
            "Path t = Files.createTempFile(v.getParent(), null, null); Files.writeString(t, \"new\\n\"); Files.move(t, v, StandardCopyOption.ATOMIC_MOVE)"
        ),
        "new\n",
    ),
    row(
        "javac",
        java!(
            "Path t = Path.of(v + \".tmp\"); Files.writeString(t, \"new\\n\"); Files.move(t, v, StandardCopyOption.REPLACE_EXISTING)"
        ),
        "new\n",
    ),
    row(
        "javac",
        java!(
            "try (var f = new RandomAccessFile(v.toFile(), \"rw\")) { f.setLength(0); f.writeBytes(\"new\\n\"); f.getFD().sync(); }"
        ),
        "new\n",
    ),
    row("javac", java!("try (var f = new FileOutputStream(v.toFile())) { f.write(\"new\\n\".getBytes()); }"), "new\n"),
    row("go", go!("check(os.WriteFile(v, []byte(\"new\\n\"), 0600))"), "new\n"),
    row(
        "go",
        go!(
            "f, e := os.OpenFile(v, os.O_APPEND|os.O_WRONLY, 0); check(e); f.WriteString(\"more\\n\"); check(f.Close())"
        ),
        "before\nmore\n",
    ),
    row(
        "go",
        go!(
            "f, e := os.CreateTemp(filepath.Dir(v), filepath.Base(v)); check(e); f.WriteString(\"new\\n\"); check(f.Sync()); check(f.Close()); check(os.Rename(f.Name(), v))"
        ),
        "new\n",
    ),
    row(
        "go",
        go!(
            "f, e := os.CreateTemp(filepath.Dir(v), \".tmp-\"); check(e); check(f.Chmod(0600)); f.WriteString(\"new\\n\"); check(f.Close()); check(os.Rename(f.Name(), v))"
        ),
        "new\n",
    ),
];

#[test]
fn languages_save_once() {
    check("languages", LANGUAGES);
}
