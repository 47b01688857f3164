//! The tables, and whose they are.
//!
//! One SQL schema holds one namespace: `identity` (one row: the version of these tables and the name of the
//! namespace), `rows` (the keys and values), `gateways` (one row per start of a gateway), `running` (those that may
//! commit) and `feed` (what each of them committed lately). A schema that holds anything else is left alone.
//!
//! Every commit holds a lock on its start's row in `running` while it is under way, taken by the statement that
//! tells of it and therefore without a round trip. Whoever ends a start deletes that row: the database lets it
//! wait for commits under way, and refuses those that come later, for they find no start to tell of.
use std::time::Duration;

use tokio_postgres::Client;

use super::failure::Failure;
use crate::{Error, Result};

/// Version of the tables.
const FORMAT: i32 = 1;
/// Attempts at making the tables: several gateways may do so at once, and databases do not bear that.
const ATTEMPTS: u32 = 10;
/// Pause between them.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes the tables that are missing; answers the name of the namespace.
pub(super) async fn prepare(client: &Client, schema: &str) -> Result<String> {
    refuse_false_syncs(client).await?;
    let mut attempts = 0;
    loop {
        refuse_strangers(client, schema).await?;
        let failure = match make(client, schema).await {
            Ok(()) => return identity(client, schema).await,
            Err(failure) => failure,
        };
        attempts += 1;
        let passing = matches!(failure, Failure::Conflict | Failure::Exists | Failure::Refused(_));
        if !passing || attempts == ATTEMPTS {
            return Err(failure.into());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A server that does not write to its disk cannot keep what is promised here.
async fn refuse_false_syncs(client: &Client) -> Result<()> {
    match client.query_one("SHOW fsync", &[]).await {
        Ok(row) if row.try_get::<_, &str>(0).is_ok_and(|value| value == "off") => Err(Error::Engine(
            "the database runs with fsync = off: it would lose what was acknowledged".into(),
        )),
        // Others do not know the setting, and cannot do without.
        _ => Ok(()),
    }
}

async fn refuse_strangers(client: &Client, schema: &str) -> Result<()> {
    let found = client
        .query(
            "SELECT table_name::text FROM information_schema.tables WHERE table_schema = $1::text",
            &[&schema],
        )
        .await
        .map_err(Failure::from)?;
    let names: Vec<&str> = found.iter().filter_map(|row| row.try_get(0).ok()).collect();
    if !names.is_empty() && !names.contains(&"identity") {
        return Err(Error::Engine(format!(
            "schema {schema} of the database holds tables of something else ({}): choose another name",
            names[0]
        )));
    }
    if names.contains(&"identity") {
        let asked = format!("SELECT format, namespace FROM {schema}.identity");
        client
            .query(&asked, &[])
            .await
            .map_err(|error| strange(schema, error))?;
    }
    Ok(())
}

fn strange(schema: &str, error: tokio_postgres::Error) -> Error {
    match Failure::from(error) {
        Failure::Refused(reason) => Error::Engine(format!(
            "schema {schema} of the database has an identity table of something else: {reason}"
        )),
        other => other.into(),
    }
}

async fn make(client: &Client, schema: &str) -> Result<(), Failure> {
    // `int` has eight bytes in CockroachDB and four in PostgreSQL. The one that says whose they are comes first. Each by itself: not every database makes several
    // tables in one transaction.
    let statements = [
        format!("CREATE SCHEMA IF NOT EXISTS {schema}"),
        format!(
            "CREATE TABLE IF NOT EXISTS {schema}.identity \
             (one int4 PRIMARY KEY CHECK (one = 1), format int4 NOT NULL, namespace text NOT NULL)"
        ),
        format!("CREATE TABLE IF NOT EXISTS {schema}.rows (k bytea PRIMARY KEY, v bytea NOT NULL)"),
        format!(
            "CREATE TABLE IF NOT EXISTS {schema}.gateways \
             (id bigint PRIMARY KEY, trimmed bigint NOT NULL, seen timestamptz NOT NULL)"
        ),
        format!("CREATE TABLE IF NOT EXISTS {schema}.running (gateway bigint PRIMARY KEY)"),
        format!(
            "CREATE TABLE IF NOT EXISTS {schema}.feed \
             (gateway bigint, number bigint, keys bytea NOT NULL, PRIMARY KEY (gateway, number))"
        ),
        format!(
            "INSERT INTO {schema}.identity (one, format, namespace) \
             VALUES (1, {FORMAT}, gen_random_uuid()::text) ON CONFLICT (one) DO NOTHING"
        ),
    ];
    for statement in statements {
        client.batch_execute(&statement).await?;
    }
    Ok(())
}

async fn identity(client: &Client, schema: &str) -> Result<String> {
    let row = client
        .query_one(&format!("SELECT format, namespace FROM {schema}.identity"), &[])
        .await
        .map_err(|error| strange(schema, error))?;
    let format: i32 = row.try_get(0).map_err(|error| strange(schema, error))?;
    if format != FORMAT {
        return Err(Error::Engine(format!(
            "schema {schema} of the database has format {format}; this program knows {FORMAT}"
        )));
    }
    row.try_get(1).map_err(|error| strange(schema, error))
}

/// Enters a start of a gateway, which may commit from now on; answers its number.
pub(super) async fn enter(client: &Client, schema: &str) -> Result<i64> {
    let start = number(client, schema).await?;
    let text = format!("INSERT INTO {schema}.running (gateway) VALUES ($1)");
    client.execute(&text, &[&start]).await.map_err(Failure::from)?;
    Ok(start)
}

/// The number of a new start.
async fn number(client: &Client, schema: &str) -> Result<i64> {
    let mut attempts = 0;
    loop {
        let entered = client
            .query_one(
                &format!(
                    "INSERT INTO {schema}.gateways (id, trimmed, seen) \
                     SELECT coalesce(max(id), 0) + 1, 0, now() FROM {schema}.gateways RETURNING id"
                ),
                &[],
            )
            .await;
        match entered.map_err(Failure::from) {
            Ok(row) => return row.try_get(0).map_err(|error| Failure::from(error).into()),
            Err(Failure::Conflict | Failure::Exists) if attempts < ATTEMPTS => {
                attempts += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(failure) => return Err(failure.into()),
        }
    }
}

/// Whether the database still holds what `gateway` committed under `number`. Gateways that were not seen for a
/// day are believed: what they told is gone.
pub(super) async fn still_has(client: &Client, schema: &str, gateway: i64, number: i64) -> Result<bool> {
    let row = client
        .query_opt(
            &format!(
                "SELECT trimmed >= $2 OR seen < now() - interval '1 day' \
                 OR EXISTS (SELECT 1 FROM {schema}.feed WHERE gateway = $1 AND number = $2) \
                 FROM {schema}.gateways WHERE id = $1"
            ),
            &[&gateway, &number],
        )
        .await
        .map_err(Failure::from)?;
    Ok(match row {
        Some(row) => row.try_get(0).map_err(Failure::from)?,
        None => false,
    })
}

/// Gateways other than `but` that were there within the last 30 seconds.
pub(super) async fn others(client: &Client, schema: &str, but: i64) -> Result<i64> {
    let row = client
        .query_one(
            &format!(
                "SELECT count(*) FROM {schema}.gateways \
                 WHERE id <> $1 AND seen > now() - interval '30 seconds'"
            ),
            &[&but],
        )
        .await
        .map_err(Failure::from)?;
    Ok(row.try_get(0).map_err(Failure::from)?)
}

/// Enters the end of a gateway: it was there, but is no more.
pub(super) async fn leave(client: &Client, schema: &str, gateway: i64) -> Result<(), Failure> {
    let text = format!("UPDATE {schema}.gateways SET seen = now() - interval '1 minute' WHERE id = $1");
    client.execute(&text, &[&gateway]).await?;
    end(client, schema, gateway).await
}

/// Lets a start commit nothing any more; waits for what it is committing.
pub(super) async fn end(client: &Client, schema: &str, gateway: i64) -> Result<(), Failure> {
    let text = format!("DELETE FROM {schema}.running WHERE gateway = $1");
    client.execute(&text, &[&gateway]).await?;
    Ok(())
}
