//! `auto`: the first that is set up signs in, and what is said when none is.

use super::*;

#[test]
fn in_the_auto_order_the_first_that_is_set_up_signs_in() {
    let az = az();
    let azd = az.path().join("azd");
    std::fs::write(&azd, "#!/bin/sh\necho '{\"token\":\"from-azd\",\"expiresOn\":\"2099-01-01T00:00:00Z\"}'\n")
        .expect("written");
    std::fs::set_permissions(&azd, std::fs::Permissions::from_mode(0o755)).expect("allowed");
    let (file, (_app, app_service)) = (tempfile::NamedTempFile::new().expect("a file"), app_service());
    let file = file.path().display().to_string();
    let endpoint = |at: usize| (app_service[at].0, app_service[at].1.as_str());
    let everything =
        [("AZURE_CLIENT_SECRET", "s3cret"), ("AZURE_FEDERATED_TOKEN_FILE", file.as_str()), endpoint(0), endpoint(1)];
    let authority = Authority::new(vec![issued("from-secret"), issued("from-workload")]);
    assert_eq!(authority.sign_in("auto", az.path(), &everything), "token from-secret");
    assert_eq!(authority.sign_in("auto", az.path(), &everything[1..]), "token from-workload");
    assert!(authority.server.seen()[1].body.contains("client_assertion="));
    assert_eq!(authority.sign_in("auto", az.path(), &everything[2..]), "token from-mi");
    assert_eq!(authority.sign_in("auto", az.path(), &[]), "token from-az");
    std::fs::write(az.path().join("az"), "#!/bin/sh\necho \"Please run 'az login' to setup account.\" >&2\nexit 1\n")
        .expect("written");
    assert_eq!(authority.sign_in("auto", az.path(), &[]), "token from-azd");
}

#[test]
fn an_outage_does_not_change_who_signs_in() {
    let az = az();
    let azd = az.path().join("azd");
    std::fs::write(&azd, "#!/bin/sh\necho '{\"token\":\"from-azd\",\"expiresOn\":\"2099-01-01T00:00:00Z\"}'\n")
        .expect("written");
    std::fs::set_permissions(&azd, std::fs::Permissions::from_mode(0o755)).expect("allowed");
    let program = az.path().join("az").display().to_string();
    let broken = "#!/bin/sh\necho 'out of order' >&2\nexit 1\n";
    let variables = [("AKVFS_TEST_THEN_FILE", program.as_str()), ("AKVFS_TEST_THEN_TEXT", broken)];
    let outcome = sign_in("auto", az.path(), &variables);
    let (first, second) = outcome.split_once('\n').expect("two");
    assert_eq!(first, "token from-az");
    assert!(second.starts_with("cannot sign in: Azure CLI: ") && second.contains("out of order"), "{second}");
}

#[test]
fn when_nothing_fits_the_message_says_what_was_tried_and_why_each_failed() {
    let outcome = sign_in("auto", Path::new("/nowhere"), &[]);
    for reason in [
        "environment: AZURE_TENANT_ID is not set",
        "workload identity: AZURE_FEDERATED_TOKEN_FILE is not set",
        "managed identity: ",
        "Azure CLI: ",
        "Azure Developer CLI: ",
    ] {
        assert!(outcome.contains(reason), "{reason}: {outcome}");
    }
    println!("{outcome}");
}

#[test]
fn one_that_is_named_is_the_only_one_tried() {
    let az = az();
    for (kind, why) in [
        ("environment", "cannot sign in: environment: AZURE_TENANT_ID is not set"),
        ("workload", "cannot sign in: workload identity: AZURE_FEDERATED_TOKEN_FILE is not set"),
        ("azd", "cannot sign in: Azure Developer CLI: "),
    ] {
        let outcome = sign_in(kind, az.path(), &[]);
        assert!(outcome.starts_with(why) && !outcome.contains(';'), "{outcome}");
    }
    let application = [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "app-1")];
    let outcome = sign_in("environment", az.path(), &application);
    assert!(outcome.ends_with("neither AZURE_CLIENT_SECRET nor AZURE_CLIENT_CERTIFICATE_PATH is set"), "{outcome}");
    assert_eq!(asked(&az), "");
}
