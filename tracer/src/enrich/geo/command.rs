//! `tracer geo IP…`: what the databases say about addresses, by hand.
//!
//! Flows in: addresses. Flows out: one JSON object a line, with the fields that an end of a connection has in a record,
//! and which database said what.

use std::io::{self, Write};
use std::net::IpAddr;

use serde::Serialize;

use super::{DatabaseInfo, Geo};
use crate::record::{Endpoint, PlaceText};

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    endpoint: Endpoint<'a>,
    #[serde(skip_serializing_if = "Databases::is_empty")]
    databases: Databases<'a>,
}

/// The database behind each field.
#[derive(Serialize)]
struct Databases<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    geo: Option<&'a DatabaseInfo>,
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    network: Option<&'a DatabaseInfo>,
}

impl Databases<'_> {
    fn is_empty(&self) -> bool {
        self.geo.is_none() && self.network.is_none()
    }
}

/// Writes one line for each address, in the order given.
///
/// # Errors
/// Those of `out`; a closed pipe is one of them.
pub fn answer(geo: &Geo, addresses: &[IpAddr], out: &mut dyn Write) -> io::Result<()> {
    for address in addresses {
        let place = geo.lookup(*address);
        let text = PlaceText::of(address.to_canonical(), &place);
        let endpoint = text.endpoint(0);
        let databases = Databases { geo: place.country_source, network: place.as_source };
        serde_json::to_writer(&mut *out, &Answer { endpoint, databases })?;
        out.write_all(b"\n")?;
    }
    out.flush()
}
