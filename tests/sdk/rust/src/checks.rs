//! The checks: each is a promise of the client, broken by an `Err` that says where.

use std::collections::HashMap;

use azure_core::Result;
use azure_core::error::ErrorKind;
use azure_core::http::StatusCode;
use azure_core::time::{Duration, OffsetDateTime};
use azure_security_keyvault_secrets::models::*;
use azure_security_keyvault_secrets::{ResourceExt as _, SecretClient, SecretClientOptions};
use futures::TryStreamExt as _;

use crate::Credential;

const NASTY: &str = "äöü 漢字 😀\0\u{2028}\r\n\t\"\\/ end ";

type Verdict = std::result::Result<(), String>;

/// Fails with the place and both sides.
macro_rules! same {
    ($got:expr, $wanted:expr) => {
        match (&$got, &$wanted) {
            (got, wanted) if got != wanted => {
                return Err(format!("line {}: got {got:?}, wanted {wanted:?}", line!()));
            }
            _ => {}
        }
    };
}

/// Fails with the place and what the client said.
macro_rules! ok {
    ($call:expr) => {
        $call.map_err(|error| format!("line {}: {error}", line!()))?
    };
}

/// Runs each check, one after the other.
pub async fn all(client: &SecretClient, credential: &Credential, url: &str) -> Vec<(&'static str, Verdict)> {
    vec![
        ("set and get", set_and_get(client, url).await),
        ("every attribute", every_attribute(client).await),
        ("values of every size", sizes(client).await),
        ("get a version", versions(client).await),
        ("a new version inherits nothing", inherits_nothing(client).await),
        ("names have no case", no_case(client).await),
        ("update", update(client).await),
        ("a disabled secret cannot be read", disabled(client).await),
        ("list", list(client).await),
        ("list by page, and go on from a token", pages(client).await),
        ("list versions", list_versions(client).await),
        ("delete and get deleted", delete(client, url).await),
        ("list deleted", list_deleted(client).await),
        ("recover brings everything back", recover(client).await),
        ("purge", purge(client).await),
        ("a deleted name is taken", taken(client).await),
        ("backup and restore", backup(client).await),
        ("what is not there", not_there(client).await),
        ("bad parameters", bad_parameters(client).await),
        ("the challenge is verified", challenge(credential, url).await),
    ]
}

fn attributes() -> SecretAttributes {
    SecretAttributes {
        enabled: Some(true),
        not_before: Some(OffsetDateTime::UNIX_EPOCH + Duration::days(10_000)),
        expires: Some(OffsetDateTime::UNIX_EPOCH + Duration::days(47_000)),
        ..Default::default()
    }
}

fn tags() -> HashMap<String, String> {
    HashMap::from([("a".into(), "1".into()), ("ключ".into(), "😀".into())])
}

fn everything(value: &str) -> SetSecretParameters {
    SetSecretParameters {
        value: Some(value.into()),
        content_type: Some("text/ü".into()),
        secret_attributes: Some(attributes()),
        tags: Some(tags()),
    }
}

fn only(value: &str) -> SetSecretParameters {
    SetSecretParameters { value: Some(value.into()), ..Default::default() }
}

async fn set(client: &SecretClient, name: &str, secret: SetSecretParameters) -> Result<Secret> {
    client.set_secret(name, secret.try_into()?, None).await?.into_model()
}

async fn get(client: &SecretClient, name: &str, version: Option<&str>) -> Result<Secret> {
    let secret_version = version.map(str::to_owned);
    let options = SecretClientGetSecretOptions { secret_version, ..Default::default() };
    client.get_secret(name, Some(options)).await?.into_model()
}

fn version_of(secret: &Secret) -> String {
    secret.resource_id().ok().and_then(|id| id.version).unwrap_or_default()
}

/// What was given and must come back.
fn given(secret: &Secret) -> (Option<String>, Option<HashMap<String, String>>, SecretAttributes) {
    let told = secret.attributes.clone().unwrap_or_default();
    let kept = SecretAttributes {
        enabled: told.enabled,
        not_before: told.not_before,
        expires: told.expires,
        ..Default::default()
    };
    (secret.content_type.clone(), secret.tags.clone(), kept)
}

fn is_everything(secret: &Secret) -> bool {
    let (content_type, told_tags, told) = given(secret);
    content_type.as_deref() == Some("text/ü")
        && told_tags == Some(tags())
        && (told.enabled, told.not_before, told.expires) == (Some(true), attributes().not_before, attributes().expires)
}

/// A refusal with this status and this code, outer or inner.
fn refused<T>(answer: Result<T>, status: StatusCode, code: &str, line: u32) -> Verdict {
    let Err(error) = answer else { return Err(format!("line {line}: it was not refused")) };
    let ErrorKind::HttpResponse { status: told, error_code, raw_response } = error.kind() else {
        return Err(format!("line {line}: {error}"));
    };
    let body = raw_response.as_ref().map(|raw| String::from_utf8_lossy(raw.body().as_ref()).into_owned());
    let inner = body.as_ref().is_some_and(|body| body.contains(&format!("\"{code}\"")));
    if *told != status || !inner || error_code.is_none() {
        return Err(format!("line {line}: {told} {error_code:?} {body:?}"));
    }
    Ok(())
}

async fn versions_of(client: &SecretClient, name: &str) -> Result<Vec<String>> {
    let items: Vec<SecretProperties> = client.list_secret_properties_versions(name, None)?.try_collect().await?;
    Ok(items.iter().filter_map(|item| item.resource_id().ok()?.version).collect())
}

async fn names(client: &SecretClient) -> Result<Vec<String>> {
    let items: Vec<SecretProperties> = client.list_secret_properties(None)?.try_collect().await?;
    Ok(items.iter().filter_map(|item| Some(item.resource_id().ok()?.name)).collect())
}

async fn set_and_get(client: &SecretClient, url: &str) -> Verdict {
    let made = ok!(set(client, "rs-roundtrip", only(NASTY)).await);
    let read = ok!(get(client, "rs-roundtrip", None).await);
    same!(made.value.as_deref(), Some(NASTY));
    same!(read.value.as_deref(), Some(NASTY));
    same!(read.id, Some(format!("{url}/secrets/rs-roundtrip/{}", version_of(&made))));
    let told = read.attributes.unwrap_or_default();
    same!(told.recoverable_days, Some(90));
    same!(told.recovery_level.map(|level| level.to_string()).as_deref(), Some("Recoverable+Purgeable"));
    Ok(())
}

async fn every_attribute(client: &SecretClient) -> Verdict {
    let made = ok!(set(client, "rs-attributes", everything("x")).await);
    let read = ok!(get(client, "rs-attributes", None).await);
    same!((is_everything(&made), is_everything(&read)), (true, true));
    let told = read.attributes.unwrap_or_default();
    same!(told.created.is_some(), true);
    same!(told.created, told.updated);
    Ok(())
}

async fn sizes(client: &SecretClient) -> Verdict {
    for value in [String::new(), "\n".into(), "x".repeat(25_600), "漢".repeat(8_533)] {
        ok!(set(client, "rs-sizes", only(&value)).await);
        same!(ok!(get(client, "rs-sizes", None).await).value, Some(value));
    }
    Ok(())
}

async fn versions(client: &SecretClient) -> Verdict {
    let mut made = Vec::new();
    for number in 0..5 {
        made.push(version_of(&ok!(set(client, "rs-versions", only(&format!("v{number}"))).await)));
    }
    for (number, version) in made.iter().enumerate() {
        same!(ok!(get(client, "rs-versions", Some(version)).await).value, Some(format!("v{number}")));
    }
    same!(version_of(&ok!(get(client, "rs-versions", None).await)), made[4]);
    Ok(())
}

async fn inherits_nothing(client: &SecretClient) -> Verdict {
    ok!(set(client, "rs-inherit", everything("one")).await);
    let (content_type, tags, told) = given(&ok!(set(client, "rs-inherit", only("two")).await));
    same!((content_type, tags.unwrap_or_default(), told.not_before, told.expires), (None, HashMap::new(), None, None));
    Ok(())
}

async fn no_case(client: &SecretClient) -> Verdict {
    ok!(set(client, "rs-Camel", only("one")).await);
    same!(ok!(get(client, "RS-CAMEL", None).await).value.as_deref(), Some("one"));
    ok!(set(client, "RS-camel", only("two")).await);
    same!(ok!(versions_of(client, "rs-camel").await).len(), 2);
    Ok(())
}

async fn change(client: &SecretClient, name: &str, changes: UpdateSecretPropertiesParameters) -> Result<Secret> {
    client.update_secret_properties(name, changes.try_into()?, None).await?.into_model()
}

async fn update(client: &SecretClient) -> Verdict {
    ok!(set(client, "rs-update", everything("x")).await);
    let content_type = Some("a/b".to_owned());
    let changes = UpdateSecretPropertiesParameters { content_type, ..Default::default() };
    let answer = ok!(change(client, "rs-update", changes).await);
    same!((answer.content_type.as_deref(), answer.tags.clone(), answer.value), (Some("a/b"), Some(tags()), None));
    let new = HashMap::from([("b".to_owned(), "2".to_owned())]);
    let changes = UpdateSecretPropertiesParameters { tags: Some(new.clone()), ..Default::default() };
    same!(ok!(change(client, "rs-update", changes).await).tags, Some(new));
    let read = ok!(get(client, "rs-update", None).await);
    same!(read.attributes.unwrap_or_default().expires, attributes().expires);
    same!(ok!(versions_of(client, "rs-update").await).len(), 1);
    Ok(())
}

async fn disabled(client: &SecretClient) -> Verdict {
    let enabled = Some(SecretAttributes { enabled: Some(false), ..Default::default() });
    let made = ok!(set(client, "rs-off", SetSecretParameters { secret_attributes: enabled, ..only("x") }).await);
    for version in [None, Some(version_of(&made))] {
        let answer = get(client, "rs-off", version.as_deref()).await;
        refused(answer, StatusCode::Forbidden, "SecretDisabled", line!())?;
    }
    Ok(())
}

async fn list(client: &SecretClient) -> Verdict {
    for number in 10..40 {
        ok!(set(client, &format!("rs-list-{number}"), everything("x")).await);
    }
    let items: Vec<SecretProperties> = ok!(ok!(client.list_secret_properties(None)).try_collect().await);
    let ours = items.iter().filter(|item| item.id.as_ref().is_some_and(|id| id.contains("/rs-list-")));
    let told: Vec<_> = ours.map(|item| (item.resource_id().map(|id| id.name).ok(), item.tags.clone())).collect();
    let wanted: Vec<_> = (10..40).map(|number| (Some(format!("rs-list-{number}")), Some(tags()))).collect();
    same!(told, wanted);
    Ok(())
}

async fn pages(client: &SecretClient) -> Verdict {
    let whole = ok!(names(client).await);
    let options = SecretClientListSecretPropertiesOptions { maxresults: Some(7), ..Default::default() };
    let mut pager = ok!(client.list_secret_properties(Some(options))).into_pages();
    let first = ok!(ok!(ok!(pager.try_next().await).ok_or("no page")).into_model());
    same!(first.value.len(), 7);
    let token = pager.into_continuation();
    same!(token.is_some(), true);
    let mut options = SecretClientListSecretPropertiesOptions::default();
    options.method_options.continuation = token;
    let mut found = first.value;
    let mut rest = ok!(client.list_secret_properties(Some(options))).into_pages();
    while let Some(page) = ok!(rest.try_next().await) {
        found.extend(ok!(page.into_model()).value);
    }
    let found: Vec<_> = found.iter().filter_map(|item| Some(item.resource_id().ok()?.name)).collect();
    same!(found, whole);
    Ok(())
}

async fn list_versions(client: &SecretClient) -> Verdict {
    let mut made = Vec::new();
    for number in 0..30 {
        made.push(version_of(&ok!(set(client, "rs-many", only(&number.to_string())).await)));
    }
    made.sort();
    same!(ok!(versions_of(client, "rs-many").await), made);
    same!(ok!(versions_of(client, "rs-nothing").await), Vec::<String>::new());
    Ok(())
}

async fn get_deleted(client: &SecretClient, name: &str) -> Result<DeletedSecret> {
    client.get_deleted_secret(name, None).await?.into_model()
}

async fn delete(client: &SecretClient, url: &str) -> Verdict {
    let made = ok!(set(client, "rs-delete", everything("x")).await);
    let answer = ok!(ok!(client.delete_secret("rs-delete", None).await).into_model());
    let read = ok!(get_deleted(client, "rs-delete").await);
    for told in [answer, read] {
        same!(told.id, made.id);
        same!((told.content_type.as_deref(), told.tags, told.value), (Some("text/ü"), Some(tags()), None));
        same!(told.recovery_id, Some(format!("{url}/deletedsecrets/rs-delete")));
        let kept = told.scheduled_purge_date.zip(told.deleted_date).map(|(end, start)| end - start);
        same!(kept, Some(Duration::days(90)));
    }
    refused(get(client, "rs-delete", None).await, StatusCode::NotFound, "SecretNotFound", line!())?;
    same!(ok!(versions_of(client, "rs-delete").await).len(), 0);
    Ok(())
}

async fn list_deleted(client: &SecretClient) -> Verdict {
    for number in 10..40 {
        let name = format!("rs-gone-{number}");
        ok!(set(client, &name, only("x")).await);
        ok!(client.delete_secret(&name, None).await);
    }
    let items: Vec<_> = ok!(ok!(client.list_deleted_secret_properties(None)).try_collect::<Vec<_>>().await);
    let ids: Vec<_> = items.iter().filter_map(|item| item.id.clone()).filter(|id| id.contains("/rs-gone-")).collect();
    same!(ids.len(), 30);
    same!(items.iter().all(|item| item.deleted_date.is_some() && item.recovery_id.is_some()), true);
    Ok(())
}

async fn recover(client: &SecretClient) -> Verdict {
    let mut made = Vec::new();
    for number in 0..3 {
        made.push(ok!(set(client, "rs-recover", everything(&format!("v{number}"))).await));
    }
    ok!(client.delete_secret("rs-recover", None).await);
    let answer = ok!(ok!(client.recover_deleted_secret("rs-recover", None).await).into_model());
    same!((answer.id.clone(), is_everything(&answer)), (made[2].id.clone(), true));
    for before in &made {
        let read = ok!(get(client, "rs-recover", Some(&version_of(before))).await);
        same!((read.value.clone(), is_everything(&read)), (before.value.clone(), true));
    }
    same!(ok!(versions_of(client, "rs-recover").await).len(), 3);
    Ok(())
}

async fn purge(client: &SecretClient) -> Verdict {
    ok!(set(client, "rs-purge", only("x")).await);
    ok!(client.delete_secret("rs-purge", None).await);
    ok!(client.purge_deleted_secret("rs-purge", None).await);
    refused(get_deleted(client, "rs-purge").await, StatusCode::NotFound, "SecretNotFound", line!())?;
    ok!(set(client, "rs-purge", only("anew")).await);
    same!(ok!(versions_of(client, "rs-purge").await).len(), 1);
    Ok(())
}

async fn taken(client: &SecretClient) -> Verdict {
    ok!(set(client, "rs-taken", only("x")).await);
    ok!(client.delete_secret("rs-taken", None).await);
    let answer = set(client, "rs-taken", only("y")).await;
    refused(answer, StatusCode::Conflict, "ObjectIsDeletedButRecoverable", line!())?;
    ok!(client.recover_deleted_secret("rs-taken", None).await);
    let again = client.recover_deleted_secret("rs-taken", None).await;
    refused(again, StatusCode::BadRequest, "RequestNotAllowedOnNonDeletedObject", line!())
}

async fn restore(client: &SecretClient, blob: &[u8]) -> Result<Secret> {
    let secret_backup = Some(blob.to_vec());
    client.restore_secret(RestoreSecretParameters { secret_backup }.try_into()?, None).await?.into_model()
}

async fn backup(client: &SecretClient) -> Verdict {
    let old = ok!(set(client, "rs-backup", everything(NASTY)).await);
    let made = ok!(set(client, "rs-backup", everything("two")).await);
    let blob = ok!(ok!(client.backup_secret("rs-backup", None).await).into_model()).value.unwrap_or_default();
    refused(restore(client, &blob).await, StatusCode::Conflict, "Conflict", line!())?;
    ok!(client.delete_secret("rs-backup", None).await);
    ok!(client.purge_deleted_secret("rs-backup", None).await);
    let mut bad = blob.clone();
    let last = bad.len().saturating_sub(3);
    bad[last] ^= 1;
    refused(restore(client, &bad).await, StatusCode::BadRequest, "Malformed backup blob", line!())?;
    let answer = ok!(restore(client, &blob).await);
    same!((answer.id.clone(), is_everything(&answer)), (made.id, true));
    same!(ok!(get(client, "rs-backup", Some(&version_of(&old))).await).value.as_deref(), Some(NASTY));
    same!(ok!(versions_of(client, "rs-backup").await).len(), 2);
    Ok(())
}

async fn not_there(client: &SecretClient) -> Verdict {
    let (missing, code) = (StatusCode::NotFound, "SecretNotFound");
    refused(get(client, "rs-nothing", None).await, missing, code, line!())?;
    refused(get_deleted(client, "rs-nothing").await, missing, code, line!())?;
    refused(client.delete_secret("rs-nothing", None).await, missing, code, line!())?;
    refused(client.purge_deleted_secret("rs-nothing", None).await, missing, code, line!())?;
    refused(client.recover_deleted_secret("rs-nothing", None).await, missing, code, line!())?;
    refused(client.backup_secret("rs-nothing", None).await, missing, code, line!())?;
    let nothing = UpdateSecretPropertiesParameters::default();
    refused(change(client, "rs-nothing", nothing).await, missing, code, line!())
}

async fn bad_parameters(client: &SecretClient) -> Verdict {
    let bad = StatusCode::BadRequest;
    refused(set(client, "under_score", only("x")).await, bad, "BadParameter", line!())?;
    refused(set(client, "rs-long", only(&"x".repeat(25_601))).await, bad, "BadParameter", line!())?;
    let tags = (0..16).map(|number| (number.to_string(), String::new())).collect();
    let crowded = SetSecretParameters { tags: Some(tags), ..only("x") };
    refused(set(client, "rs-tags", crowded).await, bad, "BadParameter", line!())
}

async fn challenge(credential: &Credential, url: &str) -> Verdict {
    let host = url.trim_start_matches("https://akv.");
    let asked = credential.asked.lock().map(|asked| asked.clone()).unwrap_or_default();
    same!(asked.first(), Some(&format!("https://{host}/.default")));
    let stranger = std::sync::Arc::new(Credential::default());
    let options = SecretClientOptions::default();
    let outside = ok!(SecretClient::new(&format!("https://{host}"), stranger.clone(), Some(options)));
    same!(get(&outside, "rs-roundtrip", None).await.is_err(), true);
    same!(stranger.asked.lock().map(|asked| asked.len()).unwrap_or(1), 0);
    Ok(())
}
