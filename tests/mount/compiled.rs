//! Programs that are compiled first, once for a secret.

/// A program of a few statements on the path `v`.
macro_rules! java {
    ($statements:literal) => {
        concat!(
            "d=\"$T/java.$N\"; [ -e \"$d\" ] || { mkdir \"$d\" && ",
            "echo 'import java.io.*; import java.nio.file.*; import java.util.*; ",
            "class W { public static void main(String[] a) throws Exception { Path v = Path.of(a[0]); ",
            $statements,
            "; } }' > \"$d/W.java\" && javac -d \"$d\" \"$d/W.java\"; } && ",
            "java -XX:TieredStopAtLevel=1 -cp \"$d\" W \"$V\""
        )
    };
}

/// The same in Go. Its own libraries are compiled once and kept.
macro_rules! go {
    ($statements:literal) => {
        concat!(
            "d=\"$T/go.$N\"; [ -e \"$d\" ] || { mkdir \"$d\" && export GOCACHE=",
            env!("CARGO_TARGET_TMPDIR"),
            "/go GOFLAGS=-mod=mod GO111MODULE=off GOTOOLCHAIN=local && ",
            "echo 'package main; import (\"os\"; \"path/filepath\"); var _ = filepath.Dir; ",
            "func check(e error) { if e != nil { println(e.Error()); os.Exit(1) } }; ",
            "func main() { v := os.Args[1]; ",
            $statements,
            " }' > \"$d/w.go\" && go build -o \"$d/w\" \"$d/w.go\"; } && \"$d/w\" \"$V\""
        )
    };
}
