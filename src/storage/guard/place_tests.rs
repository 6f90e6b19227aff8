use super::*;

fn at(text: &str) -> Location {
    Location::parse(text).unwrap()
}

fn place(folders: &[&str], allowed: &AllowedLocations, lent: &[(&str, bool)]) -> Place {
    let folders: Vec<String> = folders.iter().map(|text| (*text).to_owned()).collect();
    let lent = Lent::new(false, lent.iter().map(|(prefix, lends)| ((*prefix).to_owned(), *lends)));
    Place::new("t", &folders, allowed, &lent, &Store::local())
}

#[test]
fn a_folder_counts_if_the_configuration_vouches_for_it() {
    let lake = AllowedLocations::below(Some(at("s3://lake/w"))).and_named(" s3://second/x/ ,, s3a://third").unwrap();
    for (folder, is_good) in [
        ("s3://lake/w/shop/orders", true),
        ("s3a://lake/w/shop/orders/", true),
        ("s3://lake/w", false),
        ("s3://lake/w/", false),
        ("s3://lake/w2/shop", false),
        ("s3://lake/w/../other", false),
        ("s3://lake/w/shop/./orders", false),
        ("s3://lake", false),
        ("s3://second/x", true),
        ("s3://second/x/y", true),
        ("s3://second/xy", false),
        ("s3://third/any", true),
        ("s3://third", false),
        ("s3://evil/w/shop", false),
        ("/lake/w/shop", false),
        ("file:///lake/w/shop", false),
        ("shop/orders", false),
        ("", false),
        ("/", false),
        ("https://lake/w/shop", false),
        ("s3://abc--table-s3", false),
    ] {
        assert_eq!(place(&[folder], &lake, &[]).check().is_ok(), is_good, "{folder}");
        // One folder that is not good is one too many.
        let both = place(&["s3://lake/w/shop/orders", folder], &lake, &[]);
        assert_eq!(both.check().is_ok(), is_good, "{folder}");
    }
    let of_tables = AllowedLocations::default().and_table_buckets(true);
    assert!(place(&["s3://abc--table-s3", "s3://abc--table-s3/data"], &of_tables, &[]).check().is_ok());
    assert!(place(&["s3://abc--table-s3", "s3://def--table-s3/data"], &of_tables, &[]).check().is_err());
    assert!(place(&["s3://abc--table-s3"], &of_tables, &[]).check().is_ok());
    assert!(place(&["s3://abc"], &of_tables, &[]).check().is_err());
    assert!(AllowedLocations::default().and_named("/").is_err());
}

#[test]
fn keys_that_are_lent_vouch_for_what_they_are_for() {
    let nothing = AllowedLocations::default();
    for (prefixes, folder, is_good) in [
        (&[("s3://lake/w/t", true)][..], "s3://lake/w/t", true),
        (&[("s3://lake/w/t/", true)], "s3://lake/w/t", true),
        (&[("s3://lake/w/t/", true)], "s3://lake/w/t2", false),
        (&[("s3a://lake/w", true)], "s3://lake/w/t", true),
        (&[("s3", true)], "s3://lake/w/t", true),
        (&[("", true)], "s3://lake/w/t", true),
        (&[("", true)], "s3://lake", false),
        (&[("", true)], "file:///w/t", false),
        (&[("file:///w", true)], "file:///w/t", false),
        // A longer prefix without keys is reached with the user's.
        (&[("", true), ("s3://lake/w", false)], "s3://lake/w/t", false),
        (&[("s3://lake/w/", false), ("s3", true)], "s3://lake/x/t", true),
        (&[("s3://lake/w", false), ("s3://lake/w/t", true)], "s3://lake/w/t", true),
    ] {
        assert_eq!(place(&[folder], &nothing, prefixes).check().is_ok(), is_good, "{prefixes:?} {folder}");
    }
}

/// Else a table's metadata could name the folders of another.
#[test]
fn the_newest_metadata_file_lies_in_the_tables_folders() {
    let lake = AllowedLocations::below(Some(at("s3://lake/w"))).and_named("s3://second").unwrap();
    for (path, is_good) in [
        ("s3://lake/w/shop/t/metadata/1.metadata.json", true),
        ("s3a://lake/w/shop/t/1.metadata.json", true),
        ("s3://second/1.metadata.json", true),
        ("s3://lake/w/shop/other/metadata/1.metadata.json", false),
        ("s3://lake/w/shop/t2/metadata/1.metadata.json", false),
        ("", false),
    ] {
        let table = place(&["s3://lake/w/shop/t"], &lake, &[]).with_metadata_at(path);
        assert_eq!(table.check().is_ok(), is_good, "{path}");
    }
}

#[test]
fn files_are_written_in_the_tables_folders_and_read_where_the_user_has_tables() {
    let lake = AllowedLocations::below(Some(at("s3://lake/w"))).and_named("s3://second").unwrap();
    let table = place(&["s3://lake/w/shop/t", "s3://second/data/t"], &lake, &[]);
    for (path, writes, reads) in [
        ("s3://lake/w/shop/t/data/f", true, true),
        ("s3a://second/data/t/f", true, true),
        ("s3://second/other/f", false, true),
        ("s3://lake/w/f", false, false),
        ("s3://lake/w/shop/t", false, true),
        ("s3://lake/w/shop/t2/f", false, false),
        ("s3://lake/w/shop/other/f", false, false),
        ("s3://lake/w/shop/t/../other/f", false, false),
        ("/etc/passwd", false, false),
        ("file:///lake/w/shop/t/f", false, false),
        ("w/shop/t/f", false, false),
        ("", false, false),
    ] {
        assert_eq!(table.bounds.check_write(path).is_ok(), writes, "{path}");
        assert_eq!(table.bounds.check_read(path).is_ok(), reads, "{path}");
    }
    // One that must not be written to can be looked at, on S3.
    let elsewhere = place(&["s3://evil/t"], &lake, &[]);
    assert!(elsewhere.bounds.check_write("s3://evil/t/data/f").is_err());
    assert!(elsewhere.bounds.check_read("s3://evil/t/data/f").is_ok());
    let local = place(&["/evil/t"], &lake, &[]);
    assert!(local.bounds.check_read("/evil/t/data/f").is_err());
    let of_a_local_catalog = place(&["/evil/t"], &lake.clone().of_own_catalog(), &[]);
    assert!(of_a_local_catalog.bounds.check_read("/evil/t/data/f").is_ok());
    assert!(of_a_local_catalog.bounds.check_write("/evil/t/data/f").is_err());
}

#[test]
fn local_links_are_resolved() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| format!("{}/{name}", dir.path().display());
    std::fs::create_dir_all(path("w/shop/t/data")).unwrap();
    std::fs::create_dir(path("victim")).unwrap();
    for (link, to) in [("w/shop/link", "victim"), ("w/shop/t/data/link", "victim"), ("same", "w"), ("w/lost", "none")] {
        std::os::unix::fs::symlink(path(to), path(link)).unwrap();
    }
    let allowed = AllowedLocations::below(Some(at(&path("w"))));
    let good = |folder: &str| place(&[&path(folder)], &allowed, &[]).check().is_ok();
    assert!(good("w/shop/t") && good("w/shop/new/one") && good("same/shop/t"));
    assert!(!good("w/shop/link") && !good("w/shop/link/new") && !good("w/lost/t") && !good("w/shop/t/../../../victim"));
    assert!(!good("same") && !good("w/shop/.."));
    let table = place(&[&path("w/shop/t")], &allowed, &[]);
    for (name, is_good) in
        [("f", true), ("data/f", true), ("data/new/f", true), ("data/link/f", false), ("data/link", true)]
    {
        assert_eq!(table.bounds.check_write(&path(&format!("w/shop/t/{name}"))).is_ok(), is_good, "{name}");
    }
    assert!(table.bounds.check_read(&path("w/shop/t/data/link/f")).is_err());
    // A disk follows `..` from where a link leads to.
    for name in ["data/link/../f", "data/./f", "data/../data/f"] {
        assert!(table.bounds.check_write(&path(&format!("w/shop/t/{name}"))).is_err(), "{name}");
        assert!(table.bounds.check_read(&path(&format!("w/shop/t/{name}"))).is_err(), "{name}");
    }
    let through_another = AllowedLocations::below(Some(at(&path("same"))));
    assert!(place(&[&path("w/shop/t")], &through_another, &[]).check().is_ok());
}

/// The user names the folder of all tables, as for a REST catalog with keys of his own.
#[test]
fn a_named_folder_of_tables_lets_none_read_the_others() {
    let named = AllowedLocations::default().and_named("s3://lake/w,s3://archive/files").unwrap();
    let table = place(&["s3://lake/w/shop/t"], &named, &[]);
    assert!(table.check().is_ok());
    assert!(table.bounds.check_read("s3://lake/w/shop/t/data/f").is_ok());
    assert!(table.bounds.check_read("s3://archive/files/f").is_ok());
    assert!(table.bounds.check_read("s3://lake/w/shop/other/data/f").is_err());
}

#[test]
fn folders_that_could_be_tables_are_looked_into() {
    let lake = AllowedLocations::below(Some(at("s3://lake/w")));
    let table = place(&["s3://lake/w/shop"], &lake, &[]);
    let above = |path: &str| -> Vec<String> {
        let folders = table.folders_above(&format!("s3://lake/w/shop/{path}"));
        folders.iter().map(|folder| folder.as_str().trim_start_matches("s3://lake/w/shop/").to_owned()).collect()
    };
    assert_eq!(above("f"), Vec::<String>::new());
    assert_eq!(above("data/f"), ["data"]);
    assert_eq!(above("other/data/deep/er/f"), ["other/data", "other"]);
    assert_eq!(above("data/day=2026-01-01/f"), ["data"]);
    assert_eq!(above("data/0110/1010/f"), ["data"]);
}

/// Of an SQLite file, which is the user's, tables may list files of other places: they are read, and not touched.
#[test]
fn tables_of_an_own_catalog_may_have_files_elsewhere() {
    let own = AllowedLocations::below(Some(at("s3://lake/w"))).of_own_catalog();
    let local = AllowedLocations::below(Some(at("/w"))).of_own_catalog();
    for (table, path, reads) in [
        (place(&["s3://lake/w/shop/t"], &own, &[]), "s3://lake/w/shop/other/f", true),
        (place(&["s3://lake/w/shop/t"], &own, &[]), "s3://lake/x/f", false),
        (place(&["s3://lake/w/shop/t"], &own, &[]), "/w/f", false),
        (place(&["/w/shop/t"], &local, &[]), "/elsewhere/f", true),
        (place(&["/w/shop/t"], &local, &[]), "s3://lake/f", false),
    ] {
        assert_eq!(table.bounds.check_read(path).is_ok(), reads, "{path}");
        assert!(table.bounds.check_write(path).is_err(), "{path}");
    }
}

/// An SQLite file without a warehouse: what it names is the user's, whatever the file there says.
#[test]
fn without_a_warehouse_an_own_catalog_vouches_for_where_its_metadata_files_are() {
    let own = AllowedLocations::default().of_own_catalog();
    let good = |allowed: &AllowedLocations, path: &str, folder: &str| {
        place(&[folder], &allowed.clone().and_where_metadata_is(path), &[]).with_metadata_at(path).check().is_ok()
    };
    let file = "/w/shop/t/metadata/1.metadata.json";
    assert!(good(&own, file, "/w/shop/t"));
    assert!(good(&own, "s3://lake/w/t/metadata/1.metadata.json", "s3a://lake/w/t/"));
    assert!(!good(&own, file, "/w/shop/other") && !good(&own, file, "/w/shop") && !good(&own, file, "/"));
    assert!(!good(&own, "/home/1.metadata.json", "/home") && !good(&own, "/metadata/1.metadata.json", "/"));
    assert!(!good(&own, "s3://lake/metadata/1.metadata.json", "s3://lake"));
    assert!(!good(&AllowedLocations::default(), file, "/w/shop/t"), "a server's");
    assert!(
        !good(&AllowedLocations::below(Some(at("/x"))).of_own_catalog(), file, "/w/shop/t"),
        "there is a warehouse"
    );
}
