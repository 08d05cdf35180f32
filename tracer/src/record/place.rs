//! Where an end of a connection is: looked up and rendered once for all records that say the same.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;

use lru::LruCache;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::{AsObject, Endpoint, GeoObject};
use crate::enrich::geo::{Country, Geo, Place, Scope};
use crate::event::Tuple;
use crate::redact::Redactor;

/// Addresses remembered; some 400 bytes each.
const CAPACITY: usize = 2048;

/// JSON text of a value of type `T`, made once and written many times.
#[derive(Debug)]
pub struct Rendered<T> {
    json: Box<RawValue>,
    of: PhantomData<fn(T)>,
}

impl<T> Rendered<T> {
    /// `value` is a `T`, with whatever lifetime.
    fn new(value: &impl Serialize) -> Option<Self> {
        // No type here has a failing serialisation; if one had, the record would lack the member.
        let json = serde_json::value::to_raw_value(value).ok()?;
        Some(Self { json, of: PhantomData })
    }

    /// Without the quotes of a text.
    fn text(&self) -> &str {
        self.json.get().trim_matches('"')
    }

    fn copy(&self) -> Self {
        Self { json: self.json.clone(), of: PhantomData }
    }
}

impl<T> Serialize for Rendered<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Rendered<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// What is known about one address, rendered.
#[derive(Debug)]
pub struct PlaceText {
    pub address: IpAddr,
    pub country: Option<Country>,
    /// For a person: number and name of the network, or what kind of address it is.
    pub network: String,
    pub scope: Scope,
    /// Of the network that announces it.
    pub as_number: Option<u32>,
    pub as_name: Option<Box<str>>,
    pub anycast: bool,
    nat64: Option<IpAddr>,
    ip: Option<Rendered<IpAddr>>,
    geo: Option<Rendered<GeoObject<'static>>>,
    asn: Option<Rendered<AsObject<'static>>>,
}

impl PlaceText {
    /// Renders what was found out about `address`.
    #[must_use]
    pub fn of(address: IpAddr, place: &Place<'_>) -> Self {
        Self {
            address,
            country: place.country,
            network: network(place),
            scope: place.scope,
            as_number: place.asn,
            as_name: place.as_name.map(Into::into),
            nat64: place.nat64.map(IpAddr::V4),
            anycast: place.anycast,
            ip: Rendered::new(&address),
            geo: place.geo_object().and_then(|geo| Rendered::new(&geo)),
            asn: place.as_object().and_then(|network| Rendered::new(&network)),
        }
    }

    /// A copy with another address in its place.
    #[must_use]
    pub fn redacted(&self, redactor: &Redactor) -> Self {
        let address = redactor.address(self.address);
        Self {
            address,
            country: self.country,
            network: self.network.clone(),
            scope: self.scope,
            as_number: self.as_number,
            as_name: self.as_name.clone(),
            nat64: None,
            anycast: self.anycast,
            ip: Rendered::new(&address),
            geo: self.geo.as_ref().map(Rendered::copy),
            asn: self.asn.as_ref().map(Rendered::copy),
        }
    }

    /// The address as it is written.
    #[must_use]
    pub fn ip_text(&self) -> &str {
        self.ip.as_ref().map_or("", Rendered::text)
    }

    /// The end of a connection at this address; port 0 is an unknown port.
    #[must_use]
    pub fn endpoint(&self, port: u16) -> Endpoint<'_> {
        Endpoint {
            ip: self.ip.as_ref(),
            port: (port != 0).then_some(port),
            domain: None,
            registered_domain: None,
            name: None,
            scope: self.scope,
            nat64: self.nat64,
            anycast: self.anycast,
            geo: self.geo.as_ref(),
            asn: self.asn.as_ref(),
            service: None,
            lists: &[],
            bytes: None,
            packets: None,
            place: self,
        }
    }
}

fn network(place: &Place<'_>) -> String {
    match (place.asn, place.scope) {
        (Some(number), _) => format!("AS{number} {}", place.as_name.unwrap_or_default()),
        (None, Scope::Global) => String::new(),
        (None, scope) => match serde_json::to_value(scope) {
            Ok(serde_json::Value::String(name)) => name.replace('_', "-"),
            _ => String::new(),
        },
    }
}

/// Both ends of a connection.
#[derive(Clone, Debug)]
pub struct Places {
    pub local: Arc<PlaceText>,
    pub remote: Arc<PlaceText>,
}

/// Rendered places, the least recently used one given up first.
pub struct PlaceCache {
    entries: LruCache<IpAddr, Arc<PlaceText>>,
    most: usize,
    /// The latest two: one end of most connections is the same as that of the one before.
    latest: [Option<Arc<PlaceText>>; 2],
}

impl Default for PlaceCache {
    fn default() -> Self {
        Self::of_at_most(CAPACITY)
    }
}

impl PlaceCache {
    /// With room for so many.
    #[must_use]
    pub fn of_at_most(most: usize) -> Self {
        Self { entries: LruCache::unbounded(), most, latest: [None, None] }
    }

    /// The places of both ends.
    pub fn of(&mut self, tuple: &Tuple, geo: &Geo) -> Places {
        Places { local: self.at(tuple.local_ip(), geo), remote: self.at(tuple.remote_ip(), geo) }
    }

    /// The place of one address.
    pub fn at(&mut self, address: IpAddr, geo: &Geo) -> Arc<PlaceText> {
        let is_it = |place: &&Arc<PlaceText>| place.address == address;
        if let Some(place) = self.latest.iter().flatten().find(is_it) {
            return Arc::clone(place);
        }
        let place = self.look_up(address, geo);
        // The one that was not asked for just before stays.
        self.latest.swap(0, 1);
        self.latest[0] = Some(Arc::clone(&place));
        place
    }

    fn look_up(&mut self, address: IpAddr, geo: &Geo) -> Arc<PlaceText> {
        if let Some(place) = self.entries.get(&address) {
            return Arc::clone(place);
        }
        let place = Arc::new(PlaceText::of(address, &geo.lookup(address)));
        self.entries.put(address, Arc::clone(&place));
        if self.entries.len() > self.most {
            self.entries.pop_lru();
        }
        place
    }

    /// Forgets everything: the databases behind it were read again.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.latest = [None, None];
    }
}
