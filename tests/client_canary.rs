//! Nothing that must stay inside gets into a log, however much is logged, by us or by what we stand on.

mod client_support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use akvfs::secret::{BackupBlob, SecretAttributes};
use client_support::*;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Kept {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The only test of this file: it listens to the whole process.
#[test]
fn no_value_token_or_body_is_logged() {
    let kept = Kept::default();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(kept.clone()).init();
    let failing = reply(400, r#"{"error":{"code":"BadParameter","message":"no"},"echo":"canary-echo"}"#);
    let server = Server::vault(vec![
        bundle(VERSION, "canary-read", 0),
        bundle(VERSION, "canary-set", 0),
        reply(200, r#"{"value":"canary-broken","id":"x"}"#),
        failing,
        reply(200, r#"{"value":"canary-backup"}"#),
        bundle(VERSION, "x", 0),
    ]);
    let client = server.client();
    let none = SecretAttributes::default();
    let mut told = format!("{:?}", client.get_secret(&db(), None));
    told += &format!("{:?}", client.set_secret(&db(), &value("canary-set"), &none));
    told += &format!("{:?}", client.get_secret(&db(), None));
    told += &format!("{:?}", client.set_secret(&db(), &value("canary-refused"), &none));
    told += &format!("{:?}", client.backup_secret(&db()));
    told += &format!("{:?}", client.restore_secret_backup(&BackupBlob::new(b"canary-restore".to_vec())));
    server.is_done();
    let log = String::from_utf8_lossy(&kept.0.lock().expect("no panic")).into_owned();
    assert!(log.contains("answered") && log.contains("hyper"), "it did listen: {log}");
    for text in [&log, &told] {
        let at = text.find("canary").map(|at| text[at.saturating_sub(80)..].chars().take(160).collect::<String>());
        assert_eq!(at, None);
        assert!(!text.contains("Y2FuYXJ5"), "nor in base64");
    }
}
