//! Reads TopoJSON: arcs as differences of whole numbers, and countries as rings of arcs.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::simplify;

/// Longitude and latitude, degrees. Longitudes of an arc may leave ±180: it never jumps.
pub type Position = (f64, f64);

/// What is drawn.
pub struct Topology {
    /// Simplified.
    arcs: Vec<Vec<Position>>,
    pub shapes: Vec<Shape>,
}

/// A country.
pub struct Shape {
    /// Numeric code of ISO 3166-1.
    pub id: Option<String>,
    pub name: String,
    /// Rings of each polygon, the outer one first: numbers of arcs, and `!number` of arcs the other way round.
    polygons: Vec<Vec<Vec<i32>>>,
}

#[derive(Deserialize)]
struct File {
    arcs: Vec<Vec<(f64, f64)>>,
    transform: Transform,
    objects: Objects,
}

#[derive(Deserialize)]
struct Transform {
    scale: (f64, f64),
    translate: (f64, f64),
}

#[derive(Deserialize)]
struct Objects {
    countries: Collection,
}

#[derive(Deserialize)]
struct Collection {
    geometries: Vec<Geometry>,
}

#[derive(Deserialize)]
struct Geometry {
    id: Option<String>,
    properties: Properties,
    #[serde(flatten)]
    arcs: Arcs,
}

#[derive(Deserialize)]
struct Properties {
    name: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "arcs")]
enum Arcs {
    Polygon(Vec<Vec<i32>>),
    MultiPolygon(Vec<Vec<Vec<i32>>>),
}

impl Topology {
    /// Reads an atlas and simplifies it.
    pub fn read(json: &[u8]) -> Result<Self> {
        let file: File = serde_json::from_slice(json)?;
        let arcs = file.arcs.iter().map(|arc| simplify::simplify(&positions(arc, &file.transform))).collect();
        let shape = |geometry: Geometry| Shape {
            id: geometry.id,
            name: geometry.properties.name,
            polygons: match geometry.arcs {
                Arcs::Polygon(rings) => vec![rings],
                Arcs::MultiPolygon(polygons) => polygons,
            },
        };
        Ok(Self { arcs, shapes: file.objects.countries.geometries.into_iter().map(shape).collect() })
    }

    /// Rings of each polygon of a country.
    pub fn polygons(&self, shape: &Shape) -> Vec<Vec<Vec<Position>>> {
        let ring = |arcs: &Vec<i32>| self.ring(arcs).unwrap_or_default();
        shape.polygons.iter().map(|rings| rings.iter().map(ring).collect()).collect()
    }

    /// A closed ring that never jumps.
    fn ring(&self, numbers: &[i32]) -> Result<Vec<Position>> {
        let mut ring: Vec<Position> = Vec::new();
        for &number in numbers {
            let is_backwards = number < 0;
            let index = usize::try_from(if is_backwards { !number } else { number })?;
            let mut arc = self.arcs.get(index).context("an arc that is not there")?.clone();
            if is_backwards {
                arc.reverse();
            }
            let shift = match (ring.last(), arc.first()) {
                (Some(last), Some(first)) => 360.0 * ((last.0 - first.0) / 360.0).round(),
                _ => 0.0,
            };
            // An arc begins where the one before it ends.
            let skip = usize::from(!ring.is_empty());
            ring.extend(
                arc.into_iter().skip(skip).map(|(longitude, latitude)| (longitude + shift, latitude)),
            );
        }
        Ok(ring)
    }
}

/// Degrees of an arc.
fn positions(arc: &[(f64, f64)], transform: &Transform) -> Vec<Position> {
    let (mut x, mut y) = (0.0, 0.0);
    let mut positions: Vec<Position> = Vec::with_capacity(arc.len());
    for (dx, dy) in arc {
        x += dx;
        y += dy;
        let longitude = x * transform.scale.0 + transform.translate.0;
        let latitude = y * transform.scale.1 + transform.translate.1;
        let jump = positions.last().map_or(0.0, |last| 360.0 * ((last.0 - longitude) / 360.0).round());
        positions.push((longitude + jump, latitude));
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arcs_are_put_together_to_rings_that_do_not_jump_at_the_date_line() {
        let json = br#"{"arcs":[[[0,0],[10,0],[0,10]],[[0,0],[0,10],[10,0]]],
            "transform":{"scale":[1.0,1.0],"translate":[175.0,50.0]},
            "objects":{"countries":{"geometries":[
                {"type":"Polygon","arcs":[[0,-2]],"id":"004","properties":{"name":"A"}}]}}}"#;
        let atlas = Topology::read(json).unwrap();
        let polygons = atlas.polygons(&atlas.shapes[0]);
        assert_eq!(
            polygons[0][0],
            [(175.0, 50.0), (185.0, 50.0), (185.0, 60.0), (175.0, 60.0), (175.0, 50.0)]
        );
    }
}
