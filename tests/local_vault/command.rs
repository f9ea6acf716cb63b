//! `akvfs serve`, as the process it is.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use akvfs::cli::serve::{ServeArgs, run};
use clap::Parser;

use crate::support::{http, read};

const ARGUMENTS: &str = "AKVFS_TEST_SERVE_ARGUMENTS";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    serve: ServeArgs,
}

/// Not a test of its own: the process that the tests below start.
#[test]
fn run_in_a_child() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    let cli = Cli::try_parse_from(arguments.lines()).expect("arguments");
    println!();
    if let Err(error) = run(cli.serve) {
        eprintln!("{error}");
        std::process::exit(1);
    }
    std::process::exit(0);
}

fn start(arguments: &[&str]) -> Child {
    let arguments = [&["serve"], arguments].concat().join("\n");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["command::run_in_a_child", "--exact", "--nocapture"]).env(ARGUMENTS, arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a child")
}

fn url(child: &mut Child) -> String {
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let mut urls = lines.filter_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
    urls.next().expect("an address")
}

fn errors(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut text).expect("text");
    text
}

fn end(child: &mut Child, signal: i32) {
    // SAFETY: the process is our child and not waited for yet, so the id is still its own.
    assert_eq!(unsafe { libc::kill(child.id().cast_signed(), signal) }, 0);
    assert!(child.wait().expect("waited for").success());
}

#[test]
fn it_tells_its_address_serves_and_ends_on_a_signal() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let dir = tempfile::tempdir().expect("a directory");
        let token = dir.path().join("token");
        std::fs::write(&token, "right\n").expect("written");
        let mut child =
            start(&["--listen", "127.0.0.1:0", "--token", &token.display().to_string(), "--fault", "503:1"]);
        let url = format!("{}/secrets?api-version=7.6", url(&mut child));
        let get = |token: &str| read(http().get(&url).bearer_auth(token)).expect("an answer").status;
        assert_eq!((get("wrong"), get("right"), get("right")), (401, 503, 200));
        end(&mut child, signal);
        let errors = errors(&mut child);
        assert!(errors.contains("for development"), "{errors}");
        assert!(!errors.contains("right"), "{errors}");
    }
}

#[test]
fn with_tls_it_tells_what_to_trust() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = start(&["--listen", "127.0.0.1:0", "--tls", &dir.path().display().to_string()]);
    assert!(url(&mut child).starts_with("https://localhost:"));
    end(&mut child, libc::SIGTERM);
    let errors = errors(&mut child);
    assert!(errors.contains(&dir.path().join("ca.pem").display().to_string()), "{errors}");
    assert!(errors.contains("https://akv.localhost:"), "{errors}");
}

#[test]
fn it_says_in_one_line_why_it_does_not_start() {
    for (arguments, reason) in [
        (vec!["--listen", "0.0.0.0:0"], "--token FILE"),
        (vec!["--token", "/no/such/file"], "/no/such/file"),
        (vec!["--retention-days", "5"], "7 to 90"),
        (vec!["--store", "/no/such/dir/vault", "--listen", "127.0.0.1:0"], "/no/such/dir/vault"),
    ] {
        let mut child = start(&arguments);
        let errors = errors(&mut child);
        assert!(!child.wait().expect("waited for").success());
        assert!(errors.contains(reason) && errors.trim().lines().count() == 1, "{errors}");
    }
    for wrong in [["--fault", "nonsense"], ["--latency", "5"], ["--recovery-level", "Forever"]] {
        assert!(Cli::try_parse_from([&["serve"][..], &wrong].concat()).is_err(), "{wrong:?}");
    }
}
