//! The Equal Earth projection (Šavrič, Patterson, Jenny, 2018), and the part of the plane that is drawn.

use super::topology::Position;

/// Longitude in the middle: the edge then runs through the Bering Strait, and cuts next to nothing.
pub const MIDDLE: f64 = 11.0;
/// Width and height of the drawing.
pub const WIDTH: f64 = 2000.0;
pub const HEIGHT: f64 = 870.0;
/// Northernmost latitude that is drawn, degrees.
const NORTH: f64 = 84.0;

/// Coefficients of the projection's polynomial.
const A: [f64; 4] = [1.340_264, -0.081_106, 0.000_893, 0.003_796];

/// Where a place is on the drawing. Longitudes from `MIDDLE` - 180 to `MIDDLE` + 180.
pub fn project(longitude: f64, latitude: f64) -> (f64, f64) {
    let longitude = longitude - 360.0 * ((longitude - MIDDLE) / 360.0).round();
    project_unwrapped((longitude, latitude))
}

/// As [`project`], for longitudes that go on beyond the edge.
pub fn project_unwrapped((longitude, latitude): Position) -> (f64, f64) {
    let (x, y) = plane(longitude - MIDDLE, latitude);
    let scale = WIDTH / (2.0 * plane(180.0, 0.0).0);
    (WIDTH / 2.0 + x * scale, (plane(0.0, NORTH).1 - y) * scale)
}

fn plane(longitude: f64, latitude: f64) -> (f64, f64) {
    let root = 3.0_f64.sqrt();
    let angle = (root / 2.0 * latitude.to_radians().sin()).asin();
    let square = angle * angle;
    let sixth = square * square * square;
    let slope = A[0] + 3.0 * A[1] * square + sixth * (7.0 * A[2] + 9.0 * A[3] * square);
    let x = 2.0 * root * longitude.to_radians() * angle.cos() / (3.0 * slope);
    let y = angle * (A[0] + A[1] * square + sixth * (A[2] + A[3] * square));
    (x, y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projection_has_the_proportions_that_its_authors_give() {
        // Height over width of the whole globe: 1 : 2.05458.
        let (width, height) = (plane(180.0, 0.0).0, plane(0.0, 90.0).1);
        assert!((width / height - 2.05458).abs() < 1e-4, "{}", width / height);
        assert!((project(MIDDLE, 0.0).0 - WIDTH / 2.0).abs() < 1e-9);
        assert!(project(0.0, -56.0).1 < HEIGHT && project(0.0, NORTH).1.abs() < 1e-9);
        assert!(project(-170.0, 0.0).0 > WIDTH * 0.9, "beyond the edge it goes on at the other side");
    }
}
