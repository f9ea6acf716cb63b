//! What the fuzzer reaches that callers need not: a vault in memory without sockets.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::ServeOptions;
use super::challenge::Access;
use super::page::Cut;
use super::request::Request;
use super::routes;
use super::store::Store;
use super::vault::LocalVault;
use crate::clock::Clock;

/// See the module.
pub struct Router {
    vault: LocalVault,
    access: Access,
}

impl Router {
    /// An empty vault that takes any token.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let (store, contents) = Store::in_memory().expect("random numbers");
        let policy = ServeOptions::default().policy().expect("the defaults fit");
        let access = Access { token: None, local_names_only: true, denied: Vec::new() };
        Self { vault: LocalVault::new(store, contents, policy, clock), access }
    }

    /// Status, headers and body of the answer.
    pub fn answer(
        &self,
        [method, target, host, token]: [&str; 4],
        body: &[u8],
    ) -> (u16, Vec<(String, String)>, Vec<u8>) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            scheme: "http",
            host: Some(host.to_owned()),
            page: None,
            authorization: Some(token.to_owned().into()),
            client_request_id: Some(token.to_owned()),
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            body: body.to_vec().into(),
        };
        let reply = match routes::admit(&self.access, &request) {
            Ok(admitted) => routes::answer(&self.vault, &admitted, &request, Cut::Full),
            Err(reply) => reply,
        };
        (reply.status, reply.headers, reply.body)
    }
}
