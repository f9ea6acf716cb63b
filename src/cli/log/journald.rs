//! journald's own protocol: a datagram of fields for each event (systemd's "Native Journal Protocol"). Not by the crate
//! tracing-journald, which waits when journald does not read.

use std::fmt::Debug;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::lines::severity;

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// The way to journald.
pub(super) struct Journald {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journald {
    /// The journald at `path`, if there is one.
    pub fn find(path: &Path) -> Option<Self> {
        let socket = UnixDatagram::unbound().ok().filter(|_| path.exists())?;
        socket.set_nonblocking(true).ok()?;
        Some(Self { socket, path: path.to_owned() })
    }
}

impl<S: Subscriber> Layer<S> for Journald {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut fields = Fields::default();
        fields.put("PRIORITY", &(severity(*event.metadata().level()) as u8).to_string());
        fields.put("SYSLOG_IDENTIFIER", "akvfs");
        fields.put("TARGET", event.metadata().target());
        event.record(&mut fields);
        // Sent by name each time, so that a journald that was started anew is found. What it does not take is lost.
        let _ = self.socket.send_to(&fields.0, &self.path);
    }
}

/// Fields as they are sent.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    /// `NAME=value`, or, since a value may have lines, the name, a newline, the length as 64 bits, and the value.
    fn put(&mut self, name: &str, value: &str) {
        self.0.extend(name.as_bytes());
        if value.contains('\n') {
            self.0.push(b'\n');
            self.0.extend((value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend(value.as_bytes());
        self.0.push(b'\n');
    }

    /// Names have capital letters, digits and underscores; ours begin with AKVFS_.
    fn put_own(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.put("MESSAGE", value),
            name => self.put(&format!("AKVFS_{}", name.to_ascii_uppercase().replace('.', "_")), value),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_own(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put_own(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn heard(listener: &UnixDatagram) -> Vec<u8> {
        let mut datagram = [0; 4096];
        let length = listener.recv(&mut datagram).unwrap();
        datagram[..length].to_vec()
    }

    #[test]
    fn an_event_arrives_with_its_fields() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        assert!(Journald::find(&path).is_none());
        let listener = UnixDatagram::bind(&path).unwrap();
        let log = tracing_subscriber::registry().with(Journald::find(&path).unwrap());
        tracing::subscriber::with_default(log, || {
            tracing::warn!(error.errno = "EACCES", error.status = 403, error.code = None::<&str>, "open {}", "files/x");
            tracing::info!("two\nlines");
        });
        let text = String::from_utf8(heard(&listener)).unwrap();
        let lines: Vec<_> = text.lines().collect();
        for line in [
            "PRIORITY=4",
            "SYSLOG_IDENTIFIER=akvfs",
            "MESSAGE=open files/x",
            "AKVFS_ERROR_ERRNO=EACCES",
            "AKVFS_ERROR_STATUS=403",
        ] {
            assert!(lines.contains(&line), "{line}: {text}");
        }
        assert!(!text.contains("ERROR_CODE"), "{text}");
        let second = heard(&listener);
        let wanted = [b"MESSAGE\n".as_slice(), &9_u64.to_le_bytes(), b"two\nlines\n"].concat();
        assert!(second.windows(wanted.len()).any(|part| part == wanted), "{second:?}");
    }

    #[test]
    fn a_journald_that_does_not_read_holds_nobody_up() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        let _full = UnixDatagram::bind(&path).unwrap();
        let log = tracing_subscriber::registry().with(Journald::find(&path).unwrap());
        tracing::subscriber::with_default(log, || (0..10_000).for_each(|number| tracing::info!("line {number}")));
    }
}
