//! What the options say, in the words of each floor.

use crate::cache::CacheOptions;
use crate::fs::rights::{Accounts, Rights, Rule};
use crate::fs::{About, FsOptions};
use crate::mount::accounts;
use crate::mount::options::{self, Auth, MountOptions, Settings};
use crate::mount::point::Place;
use crate::mount::source::{Source, Vault};
use crate::secret::MAX_VALUE;

/// Not more than half the cache is for values that nobody has asked for yet.
pub(super) fn at_once(options: &MountOptions) -> usize {
    options.prefetch.min(options.cache_size / (2 * MAX_VALUE))
}

pub(super) fn cache_options(options: &MountOptions) -> CacheOptions {
    CacheOptions {
        ttl: options.ttl,
        negative_ttl: options.negative_ttl,
        max_stale: options.max_stale,
        bytes: options.cache_size,
        ..CacheOptions::default()
    }
}

pub(super) fn about(source: &Source, vault: &str, place: &Place, options: &MountOptions) -> About {
    let auth = match (&source.vault, options.auth) {
        (Vault::Local { .. }, _) | (Vault::Loopback { .. }, Auth::Auto) => Auth::Local,
        (_, auth) => auth,
    };
    About {
        source: source.to_string(),
        vault: vault.to_owned(),
        directory: place.to_string(),
        auth: auth.word().to_owned(),
        options: Settings { mount: options.clone(), ..Settings::default() }.in_short(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        ttl: options.ttl,
    }
}

pub(super) fn fs_options(options: &MountOptions, about: About) -> FsOptions {
    // SAFETY: both calls have no arguments and cannot fail.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    FsOptions {
        read_only: options.read_only,
        allow_purge: options.allow_purge,
        purge_after: options.purge_after,
        delete_delay: options.delete_delay,
        uid: options.uid.unwrap_or(uid),
        gid: options.gid.unwrap_or(gid),
        file_mode: options.mode_of_files(),
        dir_mode: options.mode_of_directories(),
        final_newline_as_before: options.final_newline_as_before,
        aliases: options.aliases.clone(),
        always_set: options.always_set,
        expires_in: options.expires_in,
        rules: options.rules.iter().map(rule).collect(),
        owner_tags: options.owner_tags.then(|| Accounts { users: accounts::users(), groups: accounts::groups() }),
        no_kernel_cache: options.no_kernel_cache,
        kernel_ttl: options.kernel_ttl,
        negative_ttl: options.negative_ttl,
        write_timeout: options.write_timeout,
        about,
    }
}

fn rule(rule: &options::Rule) -> Rule {
    let rights = Rights { owner: rule.owner, group: rule.group, mode: rule.mode };
    Rule { secrets: rule.secrets.clone(), rights }
}
