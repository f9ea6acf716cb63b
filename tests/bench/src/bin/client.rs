//! The programs that are timed: the same loop on every filesystem, and a bare keep-alive client for the wire's own floor.
//!
//! `warm OP DIR SECONDS` prints how often OP was done a second; `hold FILE COUNT` the median and the longest time of a read, in
//! microseconds; `seed ADDR COUNT SMALLEST LARGEST` makes secrets; `wire ADDR CONNECTIONS COUNT` gets them and prints the
//! seconds; `pages ADDR` lists them and prints how many pages and the seconds; `first DIR` the seconds to a directory's first
//! name and to its last.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["warm", op, dir, seconds] => println!("{}", warm(op, Path::new(dir), seconds.parse().unwrap())),
        ["hold", file, count] => hold(Path::new(file), count.parse().unwrap()),
        ["seed", addr, count, smallest, largest] => {
            seed(addr, count.parse().unwrap(), smallest.parse().unwrap(), largest.parse().unwrap());
        }
        ["files", dir, count, smallest, largest] => {
            files(Path::new(dir), count.parse().unwrap(), smallest.parse().unwrap(), largest.parse().unwrap());
        }
        ["wire", addr, connections, count] => wire(addr, connections.parse().unwrap(), count.parse().unwrap()),
        ["pages", addr] => pages(addr),
        ["first", dir] => first(Path::new(dir)),
        _ => panic!("unknown words {words:?}"),
    }
}

fn name(number: usize) -> String {
    format!("f{number:05}")
}

/// Sizes spread evenly over their logarithm, the same in every run.
fn value(number: usize, smallest: usize, largest: usize) -> String {
    let place = (number as f64 * 0.618_033_988_749_895).fract();
    let size = smallest as f64 * (largest as f64 / smallest as f64).powf(place);
    "x".repeat(size as usize)
}

fn files(dir: &Path, count: usize, smallest: usize, largest: usize) {
    (0..count).for_each(|number| fs::write(dir.join(name(number)), value(number, smallest, largest)).unwrap());
}

fn read_whole(path: &Path, buffer: &mut [u8]) -> usize {
    let mut file = File::open(path).unwrap();
    let mut whole = 0;
    loop {
        match file.read(buffer).unwrap() {
            0 => return whole,
            count => whole += count,
        }
    }
}

fn map(path: &Path) -> u8 {
    let file = File::open(path).unwrap();
    // SAFETY: a fresh private mapping of one page, unmapped before the file is closed.
    unsafe {
        let at = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0);
        assert!(at != libc::MAP_FAILED);
        let byte = *at.cast::<u8>();
        libc::munmap(at, 4096);
        byte
    }
}

fn warm(op: &str, dir: &Path, seconds: f64) -> f64 {
    let paths: Vec<PathBuf> =
        if op == "ls-l" { Vec::new() } else { fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect() };
    let few = &paths[..paths.len().min(64)];
    let mut buffer = vec![0; 64 << 10];
    let mut each: Box<dyn FnMut() -> usize> = match op {
        "open" => Box::new(|| few.iter().map(|path| read_whole(path, &mut buffer)).count()),
        "open-each" => Box::new(|| paths.iter().map(|path| read_whole(path, &mut buffer)).count()),
        "stat" => Box::new(|| few.iter().map(|path| fs::metadata(path).unwrap().len()).count()),
        "mmap" => Box::new(|| few.iter().map(|path| map(path)).count()),
        "ls-l" => Box::new(|| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).count()),
        _ => panic!("unknown operation {op}"),
    };
    each();
    let (start, mut done) = (Instant::now(), 0);
    while start.elapsed().as_secs_f64() < seconds {
        done += each();
    }
    done as f64 / start.elapsed().as_secs_f64()
}

fn hold(path: &Path, count: usize) {
    let mut buffer = vec![0; 64 << 10];
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            let start = Instant::now();
            read_whole(path, &mut buffer);
            let time = start.elapsed();
            std::thread::sleep(Duration::from_millis(1));
            time
        })
        .collect();
    times.sort();
    println!("{} {}", times[count / 2].as_micros(), times[count - 1].as_micros());
}

/// A connection that is kept.
struct Wire(BufReader<TcpStream>, String);

impl Wire {
    fn new(addr: &str) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream), addr.to_owned())
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> String {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer any\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.1,
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let mut length = 0;
        let mut status = String::new();
        self.0.read_line(&mut status).unwrap();
        assert!(status.contains(" 200 "), "{method} {path}: {status}");
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(number) = line.strip_prefix("content-length:") {
                length = number.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        String::from_utf8(body).unwrap()
    }
}

const VERSION: &str = "api-version=7.4";

fn seed(addr: &str, count: usize, smallest: usize, largest: usize) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                let mut wire = Wire::new(addr);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let body = format!("{{\"value\":\"{}\"}}", value(number, smallest, largest));
                    wire.ask("PUT", &format!("/secrets/{}?{VERSION}", name(number)), &body);
                }
            });
        }
    });
}

fn wire(addr: &str, connections: usize, count: usize) {
    let next = AtomicUsize::new(0);
    let mut wires: Vec<_> = (0..connections).map(|_| Wire::new(addr)).collect();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for wire in &mut wires {
            let next = &next;
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    wire.ask("GET", &format!("/secrets/{}/?{VERSION}", name(number)), "");
                }
            });
        }
    });
    println!("{}", start.elapsed().as_secs_f64());
}

fn pages(addr: &str) {
    let mut wire = Wire::new(addr);
    let (start, mut count, mut path) = (Instant::now(), 0, format!("/secrets?{VERSION}"));
    loop {
        let page = wire.ask("GET", &path, "");
        count += 1;
        let next = page.split_once("\"nextLink\":\"").map(|(_, rest)| rest.split('"').next().unwrap().to_owned());
        match next {
            Some(link) => path = link[link.find("/secrets").unwrap()..].to_owned(),
            None => break,
        }
    }
    println!("{count} {}", start.elapsed().as_secs_f64());
}

fn first(dir: &Path) {
    let start = Instant::now();
    let mut names = fs::read_dir(dir).unwrap();
    names.next().unwrap().unwrap();
    let first = start.elapsed().as_secs_f64();
    let count = 1 + names.map(Result::unwrap).count();
    println!("{first} {} {count}", start.elapsed().as_secs_f64());
}
