//! Converts an export's lines to rows.

use super::items::ItemBuilder;
use crate::attribute::Parser;
use crate::error::{Error, Result};

/// Enters `{"Item":`; the parser is then before the item's attributes.
pub(crate) fn begin_item(parser: &mut Parser<'_>) -> Result<()> {
    let mut first = true;
    let mut scratch = String::new();
    parser.begin_object()?;
    match parser.next_name(&mut first, &mut scratch)? {
        Some("Item") => Ok(()),
        Some("Keys" | "Metadata" | "NewImage" | "OldImage") => {
            Err(Error::input("the line holds a change of an incremental export, not an Item")
                .advice("Give incremental exports to `incremental`"))
        }
        _ => Err(Error::input("the line is not an item like {\"Item\":{…}}")),
    }
}

/// Leaves the object that [`begin_item`] entered.
pub(crate) fn end_item(parser: &mut Parser<'_>) -> Result<()> {
    let mut first = false;
    if parser.next_name(&mut first, &mut String::new())?.is_some() {
        return Err(Error::input("the line holds more than an Item"));
    }
    parser.end()
}

/// Adds the item from a line of a full export.
pub(crate) fn append(line: &[u8], builder: &mut ItemBuilder) -> Result<()> {
    let mut parser = Parser::new(line)?;
    begin_item(&mut parser)?;
    builder.append(&mut parser)?;
    end_item(&mut parser)
}
