//! The map as it is drawn: land in the map's own units, figures and names in hundredths of its size, so that these stay legible
//! at any width. Pure.

use super::timeline::short;
use crate::record::Severity;
use crate::report::build::bytes;
use crate::report::material::{CountryTotal, Material};
use crate::report::words;
use crate::report::worldmap::{self, HEIGHT, Land, WIDTH};

/// Radius of the smallest and of the largest figure, pixels.
const SMALLEST: f64 = 3.5;
const LARGEST: f64 = 14.0;
/// Ways from home: to those where most went. More are a tangle.
const MOST_WAYS: usize = 12;
/// Widths, in pixels, that names are laid out for.
const WIDE: f64 = 680.0;
const NARROW: f64 = 330.0;
/// Names at these widths.
const MOST_WIDE: usize = 16;
const MOST_NARROW: usize = 5;

/// The map.
#[derive(Clone, Debug, Default)]
pub struct MapView {
    /// All land without a figure, as one path.
    pub land: String,
    /// Land of countries with one.
    pub lands: Vec<LandView>,
    /// From home.
    pub ways: Vec<Way>,
    pub dots: Vec<Dot>,
    pub names: Vec<Name>,
    pub words: String,
}

#[derive(Clone, Debug)]
pub struct LandView {
    pub outline: &'static str,
    pub class: &'static str,
}

#[derive(Clone, Debug)]
pub struct Way {
    pub path: String,
    pub class: &'static str,
}

#[derive(Clone, Debug)]
pub struct Dot {
    pub x: String,
    pub y: String,
    pub radius: String,
    pub class: &'static str,
    pub is_home: bool,
    pub title: String,
}

#[derive(Clone, Debug)]
pub struct Name {
    pub x: String,
    pub y: String,
    /// Pixels beside that.
    pub dx: String,
    pub dy: String,
    pub anchor: &'static str,
    /// Which widths it is for.
    pub class: &'static str,
    pub text: &'static str,
}

/// How severe what goes there is.
#[must_use]
pub fn class(severity: Option<Severity>) -> &'static str {
    match severity {
        None => "plain",
        Some(Severity::Info) => "info",
        Some(Severity::Low) => "low",
        Some(Severity::Medium) => "medium",
        Some(Severity::High) => "high",
    }
}

/// Draws the map.
#[must_use]
pub fn map(material: &Material) -> MapView {
    let mut view = MapView { words: summary(material), ..MapView::default() };
    let total = |land: &Land| material.countries.iter().find(|total| total.country.code == land.code);
    let is_home = |land: &Land| material.home.iter().any(|home| home.code == land.code);
    for land in worldmap::lands().filter(|land| !land.outline.is_empty()) {
        match (total(&land), is_home(&land)) {
            (None, false) => view.land.push_str(land.outline),
            (_, true) => view.lands.push(LandView { outline: land.outline, class: "home" }),
            (Some(total), false) => {
                view.lands.push(LandView { outline: land.outline, class: class(total.severity) });
            }
        }
    }
    let most = material.countries.iter().map(weight).fold(1e-9, f64::max);
    let home = material.home.first().and_then(|home| worldmap::land(home.code));
    let mut placed: Vec<(Land, f64, &'static str)> = Vec::new();
    for total in &material.countries {
        let Some(land) = worldmap::land(total.country.code) else { continue };
        let radius = SMALLEST + (LARGEST - SMALLEST) * weight(total) / most;
        view.dots.push(dot(&land, radius, total));
        placed.push((land, radius, total.country.name));
        if let Some(home) = home.filter(|_| !total.is_home && view.ways.len() < MOST_WAYS) {
            view.ways.push(Way { path: way(&home, &land), class: class(total.severity) });
        }
    }
    for home in &material.home {
        if let Some(land) = worldmap::land(home.code)
            && !placed.iter().any(|(one, ..)| one.code == home.code)
        {
            let title = format!("{}: home, nothing went there", home.name);
            let (x, y) = place(&land);
            view.dots.push(Dot { x, y, radius: short(SMALLEST), class: "plain", is_home: true, title });
            placed.push((land, SMALLEST, home.name));
        }
    }
    // Small figures above large ones.
    view.dots.reverse();
    view.names = names(&placed, WIDE, MOST_WIDE, "wide");
    view.names.extend(names(&placed, NARROW, MOST_NARROW, "narrow"));
    view
}

fn dot(land: &Land, radius: f64, total: &CountryTotal) -> Dot {
    let (x, y) = place(land);
    let home = if total.is_home { " (home)" } else { "" };
    let title = format!(
        "{}{home}: {}, {}",
        total.country.name,
        words::connections(&total.amounts),
        words::amount(&total.amounts)
    );
    Dot { x, y, radius: short(radius), class: class(total.severity), is_home: total.is_home, title }
}

fn place(land: &Land) -> (String, String) {
    (short(land.x / WIDTH * 100.0), short(land.y / HEIGHT * 100.0))
}

/// A curve that rises over the straight line between two places.
fn way(from: &Land, to: &Land) -> String {
    let (dx, dy) = (to.x - from.x, to.y - from.y);
    let rise = (dx * dx + dy * dy).sqrt() * 0.22;
    let (x, y) = (f64::midpoint(from.x, to.x), f64::midpoint(from.y, to.y) - rise);
    format!(
        "M{} {}Q{} {} {} {}",
        whole(from.x),
        whole(from.y),
        whole(x),
        whole(y.max(4.0)),
        whole(to.x),
        whole(to.y)
    )
}

fn whole(number: f64) -> String {
    format!("{number:.0}")
}

/// Names beside their figures, at a width of the map, where no other name or figure stands; the first ones first.
fn names(placed: &[(Land, f64, &'static str)], width: f64, most: usize, class: &'static str) -> Vec<Name> {
    // What letters of 12 pixels take.
    const LETTER: f64 = 6.6;
    const LINE: f64 = 14.0;
    let scale = width / WIDTH;
    let dots = placed.iter().map(|(land, radius, _)| Box4::around(land.x * scale, land.y * scale, *radius));
    let mut taken: Vec<Box4> = dots.collect();
    let mut names = Vec::new();
    for (land, radius, text) in placed {
        if names.len() >= most {
            break;
        }
        let letters: f64 = text.chars().map(|_| LETTER).sum();
        let (x, y) = (land.x * scale, land.y * scale);
        let beside = radius + 4.0;
        let ways = [
            (beside, 4.0, "start", x + beside, y - LINE / 2.0),
            (-beside, 4.0, "end", x - beside - letters, y - LINE / 2.0),
            (0.0, beside + 10.0, "middle", x - letters / 2.0, y + beside),
            (0.0, -beside, "middle", x - letters / 2.0, y - beside - LINE),
        ];
        for (dx, dy, anchor, left, top) in ways {
            let own = Box4 { left, top, right: left + letters, bottom: top + LINE };
            let is_inside =
                own.left >= 0.0 && own.right <= width && own.top >= 0.0 && own.bottom <= HEIGHT * scale;
            if is_inside && !taken.iter().any(|other| other.meets(&own)) {
                taken.push(own);
                let (x, y) = place(land);
                names.push(Name { x, y, dx: short(dx), dy: short(dy), anchor, class, text });
                break;
            }
        }
    }
    names
}

#[derive(Clone, Copy, Debug)]
struct Box4 {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Box4 {
    fn around(x: f64, y: f64, radius: f64) -> Self {
        Self { left: x - radius, top: y - radius, right: x + radius, bottom: y + radius }
    }

    fn meets(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }
}

/// A figure's size before scaling: so that little can be seen beside much.
#[allow(clippy::cast_precision_loss, reason = "a size on paper")]
fn weight(total: &CountryTotal) -> f64 {
    (total.amounts.connections as f64 * 100.0 + bytes(&total.amounts) as f64).powf(0.3)
}

fn summary(material: &Material) -> String {
    let all: Vec<&CountryTotal> = material.countries.iter().collect();
    let shown: Vec<String> = all
        .iter()
        .take(8)
        .map(|total| {
            format!(
                "{} ({})",
                total.country.name,
                words::count(total.amounts.connections, "connection", "connections")
            )
        })
        .collect();
    let more = all.len().saturating_sub(8);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("Map of the world. Connections went to {}{more}.", words::list(&shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_stand_on_each_other() {
        let placed: Vec<(Land, f64, &'static str)> = ["DE", "NL", "BE", "LU", "CH", "AT", "CZ", "FR"]
            .into_iter()
            .filter_map(worldmap::land)
            .map(|land| (land, 9.0, "Some Country"))
            .collect();
        let names = names(&placed, WIDE, 16, "wide");
        assert!(!names.is_empty() && names.len() < placed.len(), "{names:?}");
    }
}
