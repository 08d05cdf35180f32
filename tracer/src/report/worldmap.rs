//! The map of the world that is compiled in: `data/worldmap.tsv`, made by `cargo xtask worldmap`.

const TEXT: &str = include_str!("../../../data/worldmap.tsv");

/// Size of the drawing, in its own units.
pub const WIDTH: f64 = 2000.0;
pub const HEIGHT: f64 = 870.0;

/// A country on the map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Land {
    /// ISO 3166-1 alpha-2; `-`: land without a code.
    pub code: &'static str,
    /// Where its figure stands.
    pub x: f64,
    pub y: f64,
    /// Path of an SVG; empty: it is too small to be drawn.
    pub outline: &'static str,
}

/// All countries.
pub fn lands() -> impl Iterator<Item = Land> {
    TEXT.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut fields = line.split('\t');
        Some(Land {
            code: fields.next()?,
            x: fields.next()?.parse().ok()?,
            y: fields.next()?.parse().ok()?,
            outline: fields.next()?,
        })
    })
}

/// Where a country is.
#[must_use]
pub fn land(code: &str) -> Option<Land> {
    lands().find(|land| land.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::geo;

    #[test]
    fn every_country_that_a_record_may_name_is_on_the_map() {
        let names: Vec<&str> = include_str!("../../../data/countries.tsv")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split('\t').next())
            .collect();
        for code in names {
            let land = land(code).unwrap_or_else(|| panic!("{code}"));
            assert!((0.0..=WIDTH).contains(&land.x) && (0.0..=HEIGHT).contains(&land.y), "{land:?}");
        }
        assert_eq!(lands().count(), TEXT.lines().filter(|line| !line.starts_with('#')).count());
        assert!(lands().all(|land| land.code == "-" || geo::country(land.code).is_some()));
    }

    #[test]
    fn outlines_are_paths_and_nothing_else() {
        assert!(lands().all(|land| land.outline.bytes().all(|byte| b"0123456789,-Mlz ".contains(&byte))));
        let west_of = |one: &str, other: &str| land(one).unwrap().x < land(other).unwrap().x;
        assert!(west_of("US", "SE") && west_of("SE", "CN") && west_of("CN", "NZ"));
        assert!(TEXT.len() < 150_000);
    }
}
