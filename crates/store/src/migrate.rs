//! Brings the schema up to date, forward only.
//!
//! Migrations are the numbered files in `migrations/`, built in. They are written in Postgres' words; SQLite gets the
//! same statements with its own names for the two types, and `STRICT` tables, so that a value of the wrong type is
//! refused there as well. All that are missing run in one transaction: a half-migrated database cannot be.

use crate::db::Tx;
use crate::error::{Error, Result};
use crate::sql::values;

/// The version of the first migration below. Earlier ones made another schema, which is refused by name.
const FIRST: u64 = 5;

/// All migrations in order; the first has version [`FIRST`]. Released ones are never edited.
const MIGRATIONS: [&str; 7] = [
    include_str!("../migrations/0005_data.sql"),
    include_str!("../migrations/0006_money.sql"),
    include_str!("../migrations/0007_chain.sql"),
    include_str!("../migrations/0008_work.sql"),
    include_str!("../migrations/0009_withdrawals.sql"),
    include_str!("../migrations/0010_steps.sql"),
    include_str!("../migrations/0011_versions.sql"),
];

/// Any number, the same for all nodes, so that two that start at once migrate one after the other.
const MIGRATION_LOCK: &str = "SELECT pg_advisory_xact_lock(7146263118)";

/// Runs the migrations that the database does not have yet.
pub(crate) async fn run(mut tx: Tx) -> Result<()> {
    let postgres = tx.is_postgres().await;
    if postgres {
        tx.execute(MIGRATION_LOCK, values![]).await?;
    }
    tx.execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY)", values![]).await?;
    let found = tx.number("SELECT COALESCE(MAX(version), 0) FROM schema_version", values![]).await?;
    let known = FIRST + MIGRATIONS.len() as u64 - 1;
    if found > known {
        return Err(Error::SchemaTooNew { found, known });
    }
    if found > 0 && found < FIRST {
        return Err(Error::SchemaTooOld { found, oldest: FIRST });
    }
    for (version, migration) in (FIRST..).zip(MIGRATIONS) {
        if version > found {
            for statement in statements(migration, postgres) {
                tx.execute(statement, values![]).await?;
            }
            tx.execute("INSERT INTO schema_version (version) VALUES (?)", values![version]).await?;
        }
    }
    tx.commit().await
}

/// The statements of a migration in the words of one engine, without comments.
fn statements(migration: &str, postgres: bool) -> Vec<String> {
    let code: Vec<&str> =
        migration.lines().map(|line| line.split("--").next().unwrap_or_default().trim_end()).collect();
    let code = code.join("\n");
    let statements = code.split(';').map(str::trim).filter(|statement| !statement.is_empty());
    if postgres {
        return statements.map(str::to_owned).collect();
    }
    statements
        .map(|statement| {
            let strict = if statement.starts_with("CREATE TABLE") { " STRICT" } else { "" };
            statement.replace("BYTEA", "BLOB").replace("BIGINT", "INTEGER") + strict
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_gets_its_own_types_and_strict_tables() {
        let migration =
            "-- head; with a semicolon\nCREATE TABLE t (a BIGINT, -- b;c\n b BYTEA);\nCREATE INDEX i ON t (a);\n";
        assert_eq!(statements(migration, true)[0], "CREATE TABLE t (a BIGINT,\n b BYTEA)");
        assert_eq!(
            statements(migration, false),
            ["CREATE TABLE t (a INTEGER,\n b BLOB) STRICT", "CREATE INDEX i ON t (a)"]
        );
    }
}
