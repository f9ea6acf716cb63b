//! Keys, certificates and PKCS#12 files made by the `openssl` program, and what it says of ours.

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

/// A root, an intermediate authority and a leaf, in a directory of its own.
pub struct Lab {
    dir: TempDir,
}

impl Lab {
    /// With a leaf of this kind of key (`rsa` or a curve's name); `None`, loudly, where `openssl` is missing.
    pub fn new(kind: &str) -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            skipped!("the openssl program is missing, install it: apt-get install openssl");
            return None;
        }
        let lab = Self { dir: tempfile::tempdir().expect("a directory") };
        lab.put("ca.ext", b"basicConstraints=critical,CA:TRUE\n");
        lab.put("leaf.ext", b"subjectAltName=DNS:web.example\n");
        lab.run("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout root.key -out root.pem -subj /CN=Root -days 30");
        lab.issue("mid", "ec -pkeyopt ec_paramgen_curve:P-256", "root", "ca.ext");
        let key = if kind == "rsa" { "rsa:2048".into() } else { format!("ec -pkeyopt ec_paramgen_curve:{kind}") };
        lab.issue("leaf", &key, "mid", "leaf.ext");
        lab.put("above.pem", &[lab.get("mid.pem"), lab.get("root.pem")].concat());
        Some(lab)
    }

    fn issue(&self, name: &str, key: &str, issuer: &str, extensions: &str) {
        self.run(&format!("req -new -newkey {key} -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        self.run(&format!(
            "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -out {name}.pem -days 30 -extfile {extensions}"
        ));
    }

    /// Runs `openssl` with the words of `line`; a word `EMPTY` becomes an empty one.
    pub fn try_run(&self, line: &str) -> Result<Vec<u8>, String> {
        let words = line.split_whitespace().map(|word| if word == "EMPTY" { "" } else { word });
        let output = Command::new("openssl").args(words).current_dir(&self.dir).output().expect("openssl");
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(format!("openssl {line}: {}", String::from_utf8_lossy(&output.stderr)))
        }
    }

    pub fn run(&self, line: &str) -> Vec<u8> {
        self.try_run(line).unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.dir.path().join(name), bytes).expect("written");
    }

    pub fn get(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(name)).expect("read")
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.get(name)).expect("text")
    }

    /// A value as Key Vault would have it: leaf and key in PKCS#12, protected as `options` say.
    pub fn pfx(&self, options: &str) -> String {
        self.run(&format!("pkcs12 -export -inkey leaf.key -in leaf.pem -out out.pfx -passout pass: {options}"));
        STANDARD.encode(self.get("out.pfx"))
    }

    /// A private key as `openssl` would write it.
    pub fn key(&self, pem: &[u8]) -> Vec<u8> {
        self.put("some.key", pem);
        self.run("pkey -in some.key -outform DER")
    }
}
