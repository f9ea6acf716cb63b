// Every method of Microsoft's JavaScript client against the vault at AKV_URL; run by with_vault.py, which also sets
// NODE_EXTRA_CA_CERTS. The module itself is found in the directory that SDK_MODULES names.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.SDK_MODULES}/`);
const { SecretClient, parseKeyVaultSecretIdentifier } = require("@azure/keyvault-secrets");

const url = process.env.AKV_URL;
const nasty = 'äöü 漢字 😀\u0000\u2028\r\n\t"\\/ end ';
const first = new Date("1999-12-31T23:59:59Z");
// The client wraps dates after 2038-01-19, so one before it.
const last = new Date("2037-01-01T00:00:00Z");
const all = { contentType: "text/ü", tags: { a: "1", ключ: "😀" }, notBefore: first, expiresOn: last, enabled: true };
const asked = [];
const credential = {
  async getToken(scopes, options) {
    asked.push({ scopes, tenant: options?.tenantId });
    return { token: "any-token", expiresOnTimestamp: Date.now() + 3_600_000 };
  },
};
const client = new SecretClient(url, credential);
const pollFast = { intervalInMs: 20 };

const attributes = (properties) => Object.fromEntries(Object.keys(all).map((key) => [key, properties[key]]));
const collect = async (iterator) => {
  const items = [];
  for await (const item of iterator) items.push(item);
  return items;
};
const remove = async (name) => (await client.beginDeleteSecret(name, pollFast)).pollUntilDone();
const versionsOf = (name) => collect(client.listPropertiesOfSecretVersions(name));
const refused = async (statusCode, code, call) => {
  await assert.rejects(call, (error) => {
    assert.equal(error.name, "RestError");
    assert.equal(error.statusCode, statusCode, error.message);
    const { error: told } = error.details;
    assert.equal(error.code, told.code);
    assert.ok([told.code, told.innerError?.code].includes(code), JSON.stringify(told));
    return true;
  });
};

const checks = {
  async "set and get"() {
    const made = await client.setSecret("js-roundtrip", nasty);
    const read = await client.getSecret("js-roundtrip");
    assert.equal(made.value, nasty);
    assert.equal(read.value, nasty);
    assert.equal(read.properties.id, `${url}/secrets/js-roundtrip/${made.properties.version}`);
    assert.equal(read.properties.vaultUrl, url);
    assert.deepEqual([read.properties.recoveryLevel, read.properties.recoverableDays], ["Recoverable+Purgeable", 90]);
    const parsed = parseKeyVaultSecretIdentifier(read.properties.id);
    assert.deepEqual([parsed.name, parsed.version], ["js-roundtrip", made.properties.version]);
  },
  async "set with every attribute"() {
    const { enabled, contentType, tags, notBefore, expiresOn } = all;
    const made = await client.setSecret("js-attributes", "x", { enabled, contentType, tags, notBefore, expiresOn });
    const read = await client.getSecret("js-attributes");
    assert.deepEqual(attributes(made.properties), all);
    assert.deepEqual(attributes(read.properties), all);
    assert.ok(Math.abs(Date.now() - read.properties.createdOn) < 60_000);
    assert.deepEqual(read.properties.updatedOn, read.properties.createdOn);
  },
  async "values of every size"() {
    for (const value of ["", "\n", "x".repeat(25_600), "漢".repeat(8_533)]) {
      await client.setSecret("js-sizes", value);
      assert.equal((await client.getSecret("js-sizes")).value, value);
    }
  },
  async "get a version"() {
    const made = [];
    for (let n = 0; n < 5; n += 1) made.push((await client.setSecret("js-versions", `v${n}`)).properties.version);
    assert.equal(new Set(made).size, 5);
    for (const [n, version] of made.entries())
      assert.equal((await client.getSecret("js-versions", { version })).value, `v${n}`);
    assert.equal((await client.getSecret("js-versions")).properties.version, made[4]);
  },
  async "a new version inherits nothing"() {
    await client.setSecret("js-inherit", "one", all);
    const { properties } = await client.setSecret("js-inherit", "two");
    assert.deepEqual([properties.contentType, properties.notBefore, properties.expiresOn], [undefined, undefined, undefined]);
    assert.deepEqual(properties.tags ?? {}, {});
  },
  async "names have no case"() {
    await client.setSecret("js-Camel", "one");
    assert.equal((await client.getSecret("JS-CAMEL")).value, "one");
    await client.setSecret("JS-camel", "two");
    assert.equal((await versionsOf("js-camel")).length, 2);
  },
  async "update"() {
    const { properties } = await client.setSecret("js-update", "x", all);
    const changed = { ...all, contentType: "a/b", tags: { b: "2" } };
    const answer = await client.updateSecretProperties("js-update", properties.version, { contentType: "a/b", tags: { b: "2" } });
    assert.deepEqual(attributes(answer), changed);
    await client.updateSecretProperties("js-update", properties.version, { enabled: false });
    const listed = await versionsOf("js-update");
    assert.deepEqual(listed.map(attributes), [{ ...changed, enabled: false }]);
  },
  async "a disabled secret cannot be read"() {
    const made = await client.setSecret("js-disabled", "x", { enabled: false });
    await refused(403, "SecretDisabled", () => client.getSecret("js-disabled"));
    await refused(403, "SecretDisabled", () => client.getSecret("js-disabled", { version: made.properties.version }));
  },
  async "list all"() {
    for (let n = 10; n < 40; n += 1) await client.setSecret(`js-list-${n}`, "hidden", { tags: { n: `${n}` }, contentType: `c/${n}` });
    const listed = (await collect(client.listPropertiesOfSecrets())).filter((item) => item.name.startsWith("js-list-"));
    assert.deepEqual(listed.map((item) => [item.name, item.tags.n, item.contentType, item.version]),
      Array.from({ length: 30 }, (_, n) => [`js-list-${n + 10}`, `${n + 10}`, `c/${n + 10}`, undefined]));
    assert.ok(listed.every((item) => !("value" in item)));
  },
  async "list by page, and go on from a token"() {
    const whole = (await collect(client.listPropertiesOfSecrets())).map((item) => item.name);
    const pages = await collect(client.listPropertiesOfSecrets().byPage({ maxPageSize: 7 }));
    assert.deepEqual(pages.flat().map((item) => item.name), whole);
    assert.equal(Math.max(...pages.map((page) => page.length)), 7);
    assert.equal((await collect(client.listPropertiesOfSecrets().byPage()))[0].length, 25);
    // This client takes a token and gives none with its pages: it is the link in the answer.
    let continuationToken;
    const onResponse = (answer) => (continuationToken = JSON.parse(answer.bodyAsText).nextLink);
    const { value } = await client.listPropertiesOfSecrets({ onResponse }).byPage({ maxPageSize: 10 }).next();
    assert.ok(continuationToken.startsWith(url), continuationToken);
    const rest = await collect(client.listPropertiesOfSecrets().byPage({ continuationToken }));
    assert.deepEqual([...value, ...rest.flat()].map((item) => item.name), whole);
  },
  async "list versions"() {
    const made = [];
    for (let n = 0; n < 30; n += 1) made.push((await client.setSecret("js-many", `${n}`)).properties.version);
    assert.deepEqual((await versionsOf("js-many")).map((item) => item.version), made.sort());
    const pages = await collect(client.listPropertiesOfSecretVersions("js-many").byPage({ maxPageSize: 8 }));
    assert.deepEqual(pages.map((page) => page.length), [8, 8, 8, 6]);
    assert.deepEqual(await versionsOf("js-nothing"), []);
  },
  async "delete, get deleted"() {
    const made = await client.setSecret("js-delete", "x", all);
    const poller = await client.beginDeleteSecret("js-delete", pollFast);
    const answer = await poller.pollUntilDone();
    assert.ok(poller.isDone());
    const read = await client.getDeletedSecret("js-delete");
    for (const told of [answer, read]) {
      assert.deepEqual(attributes(told.properties), all);
      assert.equal(told.properties.id, made.properties.id);
      assert.equal(told.properties.recoveryId, `${url}/deletedsecrets/js-delete`);
      assert.equal(told.properties.scheduledPurgeDate - told.properties.deletedOn, 90 * 86_400_000);
      assert.equal(told.value, undefined);
    }
    await refused(404, "SecretNotFound", () => client.getSecret("js-delete"));
    assert.deepEqual(await versionsOf("js-delete"), []);
  },
  async "list deleted, by page"() {
    for (let n = 10; n < 40; n += 1) {
      await client.setSecret(`js-gone-${n}`, "x");
      await remove(`js-gone-${n}`);
    }
    const names = (await collect(client.listDeletedSecrets())).map((item) => item.name).filter((name) => name.startsWith("js-gone-"));
    assert.deepEqual(names, Array.from({ length: 30 }, (_, n) => `js-gone-${n + 10}`));
    const pages = await collect(client.listDeletedSecrets().byPage({ maxPageSize: 11 }));
    assert.ok(pages.length > 2 && pages[0].length === 11);
  },
  async "recover brings everything back"() {
    const made = [];
    for (let n = 0; n < 3; n += 1) made.push(await client.setSecret("js-recover", `v${n}`, all));
    await remove("js-recover");
    const answer = await (await client.beginRecoverDeletedSecret("js-recover", pollFast)).pollUntilDone();
    assert.deepEqual(attributes(answer), all);
    for (const { value, properties } of made) {
      const read = await client.getSecret("js-recover", { version: properties.version });
      assert.deepEqual([read.value, read.properties.createdOn, attributes(read.properties)], [value, properties.createdOn, all]);
    }
    assert.equal((await versionsOf("js-recover")).length, 3);
  },
  async "purge"() {
    await client.setSecret("js-purge", "x");
    await remove("js-purge");
    await client.purgeDeletedSecret("js-purge");
    await refused(404, "SecretNotFound", () => client.getDeletedSecret("js-purge"));
    await client.setSecret("js-purge", "anew");
    assert.equal((await versionsOf("js-purge")).length, 1);
  },
  async "a deleted name is taken"() {
    await client.setSecret("js-taken", "x");
    await remove("js-taken");
    await refused(409, "ObjectIsDeletedButRecoverable", () => client.setSecret("js-taken", "y"));
  },
  async "backup and restore"() {
    const made = [];
    for (let n = 0; n < 3; n += 1) made.push(await client.setSecret("js-backup", nasty + n, all));
    const blob = await client.backupSecret("js-backup");
    await refused(409, "Conflict", () => client.restoreSecretBackup(blob));
    await remove("js-backup");
    await client.purgeDeletedSecret("js-backup");
    const bad = Uint8Array.from(blob, (byte, at) => (at === blob.length - 3 ? byte ^ 1 : byte));
    await refused(400, "Malformed backup blob", () => client.restoreSecretBackup(bad));
    const answer = await client.restoreSecretBackup(blob);
    assert.equal(answer.id, made[2].properties.id);
    for (const { value, properties } of made)
      assert.equal((await client.getSecret("js-backup", { version: properties.version })).value, value);
    assert.equal((await versionsOf("js-backup")).length, 3);
  },
  async "what is not there"() {
    for (const call of [
      () => client.getSecret("js-nothing"),
      () => client.getDeletedSecret("js-nothing"),
      () => client.updateSecretProperties("js-nothing", "", { enabled: true }),
      () => client.beginDeleteSecret("js-nothing"),
      () => client.purgeDeletedSecret("js-nothing"),
      () => client.backupSecret("js-nothing"),
    ])
      await refused(404, "SecretNotFound", call);
  },
  async "bad parameters"() {
    await refused(400, "BadParameter", () => client.setSecret("under_score", "x"));
    await refused(400, "BadParameter", () => client.setSecret("js-long", "x".repeat(25_601)));
    const tags = Object.fromEntries(Array.from({ length: 16 }, (_, n) => [`${n}`, ""]));
    await refused(400, "BadParameter", () => client.setSecret("js-tags", "x", { tags }));
  },
  async "every api-version"() {
    for (const serviceVersion of ["7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01"]) {
      const other = new SecretClient(url, credential, { serviceVersion });
      await other.setSecret("js-api", serviceVersion);
      assert.equal((await other.getSecret("js-api")).value, serviceVersion);
    }
  },
  async "the challenge is verified"() {
    assert.deepEqual(asked[0].scopes, [`https://${url.split("//akv.")[1]}/.default`]);
    assert.ok(asked[0].tenant);
    const count = asked.length;
    const outside = new SecretClient(url.replace("akv.localhost", "localhost"), credential);
    await assert.rejects(() => outside.getSecret("js-roundtrip"), /challenge resource/i);
    assert.equal(asked.length, count, "no token was asked for");
  },
};

let [passed, failed] = [0, 0];
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    passed += 1;
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}: ${error.message.slice(0, 300)} ${error.stack?.match(/client\.mjs:\d+/)?.[0] ?? ""}`);
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(passed && !failed ? 0 : 1);
