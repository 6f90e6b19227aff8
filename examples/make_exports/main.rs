//! Writes DynamoDB exports of a made-up `orders` table, laid out as DynamoDB lays them out.
//!
//! The same arguments give the same items, so that a program can work out what a table must hold.

mod layout;
mod orders;
mod small;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use layout::Result;

const USAGE: &str = "\
Writes DynamoDB exports of a made-up `orders` table.

  make_exports small  DIR                                        the exports of examples/exports
  make_exports full   DIR --items 1000000 [--files 16]           a full export of so many items
  make_exports window DIR --items 1000000 --changes 10000 --window 1 [--files 4]
                      the changes of the first, second, … 15 minutes after it: of 5 changes, 3 update
                      and 1 deletes an item of the full export, and 1 inserts an item (NEW_IMAGE view)";

enum Job {
    Small,
    Full { items: u64, files: u64 },
    Window { window: orders::Window, files: u64 },
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(written) => {
            for (folder, items) in written {
                println!("{}: {items} records", folder.display());
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<Vec<(PathBuf, u64)>> {
    let [command, folder, options @ ..] = arguments else {
        return Err("a command and a folder are needed".into());
    };
    let root = Path::new(folder);
    let mut options = numbers(options)?;
    let mut option = |name: &str, default: Option<u64>| {
        options.remove(name).or(default).ok_or_else(|| format!("--{name} is needed"))
    };
    let job = match command.as_str() {
        "small" => Job::Small,
        "full" => Job::Full { items: option("items", None)?, files: option("files", Some(16))? },
        "window" => {
            let (items, changes) = (option("items", None)?, option("changes", None)?);
            let window = orders::Window::new(items, changes, option("window", Some(1))?)?;
            Job::Window { window, files: option("files", Some(4))? }
        }
        other => return Err(format!("unknown command {other:?}").into()),
    };
    if let Some(unknown) = options.keys().next() {
        return Err(format!("--{unknown} means nothing to `{command}`").into());
    }
    match job {
        Job::Small => small::write(root),
        Job::Full { items, files } => Ok(vec![orders::full(root, items, files)?]),
        Job::Window { window, files } => Ok(vec![window.write(root, files)?]),
    }
}

fn numbers(options: &[String]) -> Result<BTreeMap<String, u64>> {
    let mut read = BTreeMap::new();
    for pair in options.chunks(2) {
        let [name, value] = pair else {
            return Err("an option has no value".into());
        };
        let name = name.strip_prefix("--").ok_or_else(|| format!("{name:?} is not an option"))?;
        let value = value.parse().map_err(|_| format!("--{name}: {value:?} is not a whole number"))?;
        read.insert(name.to_owned(), value);
    }
    Ok(read)
}
