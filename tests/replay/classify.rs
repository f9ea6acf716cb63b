//! Why an answer differs, by rules that look at the service's build, the api-version or the recorder; never at single
//! sessions. A difference that no rule explains fails the test.

use crate::compare::{Difference, How};
use crate::recording::Exchange;

/// What a reason means for the local vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// A later build of the service answers as the local vault does.
    OlderBuild,
    /// The recorder changed or left out something.
    Recorder,
    /// The recorded vault was set up in a way that the local vault does not have.
    Setup,
    /// The local vault does otherwise.
    Ours,
}

impl Group {
    pub const ALL: [Group; 4] = [Self::OlderBuild, Self::Recorder, Self::Setup, Self::Ours];

    pub fn heading(self) -> &'static str {
        match self {
            Self::OlderBuild => "older build",
            Self::Recorder => "recorder",
            Self::Setup => "vault's setup",
            Self::Ours => "differed",
        }
    }
}

pub struct Reason {
    pub group: Group,
    pub text: &'static str,
    fits: fn(&Exchange, &Difference) -> bool,
}

/// The first one that fits counts.
pub const REASONS: &[Reason] = &[
    Reason {
        group: Group::Ours,
        text: "401 for a token of another audience (`AKV10022`): the local vault looks into no token",
        fits: |exchange, it| exchange.status == 401 && it.recorded.starts_with("AKV10022"),
    },
    Reason {
        group: Group::OlderBuild,
        text: "401 without a body and its Content-Type (builds to 1.1.0.872)",
        fits: |exchange, it| {
            let place = it.at == "header content-type" || it.at == "body";
            exchange.status == 401 && place && built_to(exchange, [1, 1, 0, 872])
        },
    },
    Reason {
        group: Group::OlderBuild,
        text: "401 in words without `MTLS_POP` (builds before 1.9.3070)",
        fits: |exchange, it| {
            exchange.status == 401
                && said(it, &["Request is missing a", "AKV10000: Request is missing a"])
                && built_to(exchange, [1, 9, 3069, u32::MAX])
        },
    },
    Reason {
        group: Group::OlderBuild,
        text: "404 in the words `Secret not found: NAME` (builds to 1.1.0.898)",
        fits: |exchange, it| {
            exchange.status == 404 && said(it, &["Secret not found: "]) && built_to(exchange, [1, 1, 0, 898])
        },
    },
    Reason {
        group: Group::OlderBuild,
        text: "404 of a deleted secret of a name never used, in the words of get (builds to 1.1.10.0)",
        fits: |exchange, it| {
            exchange.op == "get-deleted"
                && exchange.status == 404
                && said(it, &["A secret with (name/id) "])
                && built_to(exchange, [1, 1, 10, 0])
        },
    },
    Reason {
        group: Group::OlderBuild,
        text: "409 of restore in the words `Conflict while restoring secret` (builds to 1.1.31.4)",
        fits: |exchange, it| {
            exchange.op == "restore"
                && said(it, &["Conflict while restoring secret "])
                && built_to(exchange, [1, 1, 31, 4])
        },
    },
    Reason {
        group: Group::OlderBuild,
        text: "403 of a disabled deleted secret as `AccessDenied` (builds to 1.1.6.0)",
        fits: |exchange, it| {
            let place = said(it, &["Operation get is not permitted on this object."]) || it.recorded == "AccessDenied";
            exchange.op == "get-deleted" && exchange.status == 403 && place && built_to(exchange, [1, 1, 6, 0])
        },
    },
    Reason {
        group: Group::OlderBuild,
        text: "403 of deleting a certificate's secret in shorter words (builds to 1.2.265.0)",
        fits: |exchange, it| {
            exchange.op == "delete"
                && exchange.status == 403
                && said(it, &["Operation \"delete\" is not allowed as this object's lifetime is managed"])
                && built_to(exchange, [1, 2, 265, 0])
        },
    },
    Reason {
        group: Group::OlderBuild,
        text: "no `recoveryLevel`, or `recoverylevel` (builds to 1.0.0.1185)",
        fits: |exchange, it| {
            let member = it.at.ends_with(".recoveryLevel") && it.how == How::Extra
                || it.at.ends_with(".recoverylevel") && it.how == How::Missing;
            member && built_to(exchange, [1, 0, 0, 1185])
        },
    },
    Reason {
        group: Group::OlderBuild,
        text: "no `recoverableDays` under 7.1-preview (builds to 1.1.0.897)",
        fits: |exchange, it| {
            it.at.ends_with(".recoverableDays")
                && it.how == How::Extra
                && under(exchange, "7.1-preview")
                && built_to(exchange, [1, 1, 0, 897])
        },
    },
    Reason {
        group: Group::OlderBuild,
        text: "`recoverableDays` under 7.0 too (build 1.1.0.893 alone)",
        fits: |exchange, it| {
            it.at.ends_with(".recoverableDays")
                && it.how == How::Missing
                && under(exchange, "7.0")
                && exchange.build() == [1, 1, 0, 893]
        },
    },
    Reason {
        group: Group::OlderBuild,
        text: "an empty listing as `\"value\":null` (build 1.1.0.866)",
        fits: |exchange, it| {
            exchange.is_list() && it.at == "body.value" && it.recorded == "null" && exchange.build() == [1, 1, 0, 866]
        },
    },
    Reason {
        group: Group::OlderBuild,
        text: "no backup yet, 405 (builds to 1.0.0.848)",
        fits: |exchange, it| exchange.op == "backup" && it.recorded == "405" && built_to(exchange, [1, 0, 0, 848]),
    },
    Reason {
        group: Group::OlderBuild,
        text: "no `x-ms-client-request-id` (builds before 1.2.205)",
        fits: |exchange, it| is_extra(it, "x-ms-client-request-id") && built_to(exchange, [1, 2, 204, u32::MAX]),
    },
    Reason {
        group: Group::OlderBuild,
        text: "no `x-ms-keyvault-network-info` (builds to 1.0.0.1185)",
        fits: |exchange, it| is_extra(it, "x-ms-keyvault-network-info") && built_to(exchange, [1, 0, 0, 1185]),
    },
    Reason {
        group: Group::Recorder,
        text: "`x-ms-request-id` left out by the recorder of the Python and az tests (vcr)",
        fits: |exchange, it| is_extra(it, "x-ms-request-id") && exchange.format == "vcr",
    },
    Reason {
        group: Group::OlderBuild,
        text: "no `x-ms-request-id`, `x-ms-keyvault-region`, `x-content-type-options` (build 1.0.0.96 of 2015)",
        fits: |exchange, it| {
            let header = ["x-ms-request-id", "x-ms-keyvault-region", "x-content-type-options"];
            header.iter().any(|name| is_extra(it, name)) && built_to(exchange, [1, 0, 0, 96])
        },
    },
    Reason {
        group: Group::Recorder,
        text: "names rewritten: a listing out of order, in which a deletion becomes visible between two pages",
        fits: |exchange, it| {
            exchange.is_list()
                && exchange.op != "list-versions"
                && it.at == "body.value of others"
                && it.how == How::Count
        },
    },
    Reason {
        group: Group::Recorder,
        text: "names rewritten: the answer to a get tells another name than the request",
        fits: |exchange, it| {
            let name = exchange.name().map(|name| format!("/secrets/{name}/")).unwrap_or_default();
            exchange.op == "get" && it.at == "body.id" && !it.recorded.contains(&name)
        },
    },
    Reason {
        group: Group::Setup,
        text: "`x-ms-keyvault-rbac-assignment-id`: the local vault has no role assignments",
        fits: |_, it| it.at == "header x-ms-keyvault-rbac-assignment-id" && it.how == How::Missing,
    },
];

/// Whether only the text differs, and the recorded one begins so.
fn said(it: &Difference, beginnings: &[&str]) -> bool {
    let begins = beginnings.iter().any(|beginning| it.recorded.starts_with(beginning));
    it.at == "body.error.message" && it.how == How::Value && begins
}

/// Whether the request had this api-version, as far as its query was recorded.
fn under(exchange: &Exchange, version: &str) -> bool {
    let mut pairs = exchange.query.iter().flatten();
    exchange.query.is_none() || pairs.any(|(name, value)| name == "api-version" && value == version)
}

fn is_extra(it: &Difference, header: &str) -> bool {
    it.how == How::Extra && it.at.strip_prefix("header ") == Some(header)
}

/// Whether the service was of this build or an older one.
fn built_to(exchange: &Exchange, last: [u32; 4]) -> bool {
    let build = exchange.build();
    !build.is_empty() && build.as_slice() <= &last[..]
}

/// Why, as the position in [`REASONS`].
pub fn reason(exchange: &Exchange, difference: &Difference) -> Option<usize> {
    REASONS.iter().position(|reason| (reason.fits)(exchange, difference))
}
