//! ALTER EXTENSION UPDATE: the schema that an upgrade leaves is the schema that a new installation has, and the data stays.
//! Each `sql/qbo_raw--A--B.sql` needs the install script of A in `tests/e2e/versions`; an invented predecessor shows that the
//! comparison sees what an upgrade script forgets.

use qbo_e2e::{Database, program};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where the server looks for scripts.
fn scripts() -> PathBuf {
    let output = Command::new(program("pg_config")).arg("--sharedir").output().unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()).join("extension")
}

/// A script that is there for as long as the test runs.
struct Script(PathBuf);

impl Script {
    fn new(name: &str, text: &str) -> Script {
        let path = scripts().join(name);
        std::fs::write(&path, text).unwrap();
        Script(path)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The numbered files of the surface.
fn parts() -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = std::fs::read_dir(root().join("sql"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path))
        .filter(|(name, _)| name.starts_with(|c: char| c.is_ascii_digit()))
        .map(|(name, path)| (name, std::fs::read_to_string(path).unwrap()))
        .collect();
    found.sort();
    found
}

/// All that can be told of the extension's objects: definitions, columns, rights, comments.
const CATALOG: &str = "
    WITH member AS (
      SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
       WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'qbo_raw')
    SELECT 'object', pg_describe_object(classid, objid, 0) FROM member
    UNION ALL SELECT 'function', pg_get_functiondef(objid) || coalesce(p.proacl::text, '')
      FROM member JOIN pg_proc p ON p.oid = objid AND classid = 'pg_proc'::regclass
    UNION ALL SELECT 'relation', concat_ws(' ', c.relname, c.relkind, c.relrowsecurity, c.relacl, c.reloptions,
                                           CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END)
      FROM member JOIN pg_class c ON c.oid = objid AND classid = 'pg_class'::regclass
    UNION ALL SELECT 'column', concat_ws(' ', a.attrelid::regclass, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                                         a.attidentity, a.attacl, pg_get_expr(f.adbin, f.adrelid))
      FROM member JOIN pg_attribute a ON a.attrelid = objid AND classid = 'pg_class'::regclass AND a.attnum > 0 AND NOT a.attisdropped
      LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
    UNION ALL SELECT 'constraint', concat_ws(' ', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid))
      FROM member JOIN pg_constraint k ON k.conrelid = objid AND classid = 'pg_class'::regclass
    UNION ALL SELECT 'index', pg_get_indexdef(i.indexrelid)
      FROM member JOIN pg_index i ON i.indrelid = objid AND classid = 'pg_class'::regclass
    UNION ALL SELECT 'trigger', pg_get_triggerdef(t.oid)
      FROM member JOIN pg_trigger t ON t.tgrelid = objid AND classid = 'pg_class'::regclass AND NOT t.tgisinternal
    UNION ALL SELECT 'comment', concat_ws(' ', pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description)
      FROM member JOIN pg_description d ON d.objoid = objid AND d.classoid = classid
    ORDER BY 1, 2";

fn catalog(db: &Database) -> Vec<Vec<String>> {
    db.rows(CATALOG)
}

/// Makes the extension anew as another version.
fn install(db: &Database, version: &str) {
    db.exec(&format!("DROP EXTENSION qbo_raw; CREATE EXTENSION qbo_raw VERSION '{version}'"));
    db.connect_company();
}

#[test]
fn an_upgrade_leaves_what_a_new_installation_has() {
    let fresh = catalog(&Database::new());
    assert!(fresh.len() > 300, "{} objects", fresh.len());
    let mut upgrades = Vec::new();
    let versions = Path::new(env!("CARGO_MANIFEST_DIR")).join("versions");
    for entry in std::fs::read_dir(root().join("sql")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(rest) = name.strip_prefix("qbo_raw--").and_then(|rest| rest.strip_suffix(".sql")) {
            let from = rest.split("--").next().unwrap().to_owned();
            let old = versions.join(format!("qbo_raw--{from}.sql"));
            upgrades
                .push((from, std::fs::read_to_string(&old).unwrap_or_else(|_| panic!("{old:?} is missing"))));
        }
    }
    for (from, script) in &upgrades {
        let _script = Script::new(&format!("qbo_raw--{from}.sql"), script);
        let db = Database::new();
        install(&db, from);
        db.backfill("invoices");
        db.exec("ALTER EXTENSION qbo_raw UPDATE");
        assert_eq!(catalog(&db), fresh, "from {from}");
        db.check_equal("invoices", "Invoice");
        db.backfill("customers");
    }
}

#[test]
fn what_an_upgrade_forgets_is_seen_and_the_data_stays() {
    let parts = parts();
    let (comments, rest) = parts.split_last().unwrap();
    let old: String = rest.iter().map(|(_, text)| text.as_str()).collect();
    let (first, after) = comments.1.split_once(";\n").unwrap();
    let _old = Script::new("qbo_raw--0.0.8.sql", &old);
    let _whole = Script::new("qbo_raw--0.0.8--0.1.0.sql", &comments.1);
    let _same = Script::new("qbo_raw--0.0.9.sql", &old);
    let _less = Script::new("qbo_raw--0.0.9--0.1.0.sql", after);
    assert!(first.contains("COMMENT ON"), "{first}");
    let fresh = catalog(&Database::new());

    // The library of today works on the surface of yesterday, and what it stored is there afterwards.
    let db = Database::new();
    install(&db, "0.0.8");
    let run = db.backfill("invoices");
    assert_ne!(catalog(&db), fresh);
    db.exec("ALTER EXTENSION qbo_raw UPDATE TO '0.1.0'");
    assert_eq!(catalog(&db), fresh);
    db.check_equal("invoices", "Invoice");
    assert_eq!(db.of_run(run, "status"), "success");
    db.backfill("customers");
    db.check_equal("customers", "Customer");

    let less = Database::new();
    install(&less, "0.0.9");
    less.exec("ALTER EXTENSION qbo_raw UPDATE TO '0.1.0'");
    assert_ne!(catalog(&less), fresh, "a comment is missing");
}
