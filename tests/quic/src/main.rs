//! HTTP/3 for the tests of names: a server that says which name each client asked it for, and a client whose first
//! message is as long as it is told, and goes to the kernel datagram by datagram or several at once.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes};
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const HTTP3: &[u8] = b"h3";
const BODY: &str = "<title>here</title>\n";
/// Files are PEM.
const USAGE: &str =
    "quic serve IP:PORT CERTIFICATE KEY | quic get IP:PORT NAME CERTIFICATE LENGTH together|apart";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match words[..] {
            ["serve", at, certificate, key] => serve(at.parse()?, certificate, key).await,
            ["get", to, name, certificate, length, how @ ("together" | "apart")] => {
                let config = client(certificate, length.parse()?, how == "together")?;
                get(to.parse()?, name, config).await
            }
            _ => bail!(USAGE),
        }
    })
}

/// Answers every request of every client, until it is killed.
async fn serve(at: SocketAddr, certificate: &str, key: &str) -> Result<()> {
    let certificate = CertificateDer::from_pem_file(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut tls =
        rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
    tls.alpn_protocols = vec![HTTP3.to_vec()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let endpoint = quinn::Endpoint::server(config, at)?;
    println!("ready");
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            if let Err(why) = answer(incoming).await {
                println!("error {why:#}");
            }
        });
    }
    Ok(())
}

async fn answer(incoming: quinn::Incoming) -> Result<()> {
    let connection = incoming.await?;
    let handshake = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    let name = handshake.and_then(|data| data.server_name).unwrap_or_default();
    let mut http = h3::server::Connection::new(h3_quinn::Connection::new(connection)).await?;
    while let Ok(Some(request)) = http.accept().await {
        let (request, mut stream) = request.resolve_request().await?;
        println!("asked {name} {}", request.uri());
        let response = http::Response::builder().header("content-type", "text/html").body(())?;
        stream.send_response(response).await?;
        stream.send_data(Bytes::from_static(BODY.as_bytes())).await?;
        stream.finish().await?;
    }
    Ok(())
}

/// What the client offers, and whether several datagrams go to the kernel in one call (`UDP_SEGMENT`).
fn client(certificate: &str, length: usize, together: bool) -> Result<quinn::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let mut tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = protocols(length);
    let mut transport = quinn::TransportConfig::default();
    transport.enable_segmentation_offload(together);
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Gets a page by HTTP/3 and says from which local port, and how many bytes it had.
async fn get(to: SocketAddr, name: &str, config: quinn::ClientConfig) -> Result<()> {
    let mut endpoint = quinn::Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into())?;
    endpoint.set_default_client_config(config);
    let connection = endpoint.connect(to, name)?.await?;
    let port = endpoint.local_addr()?.port();
    let (mut driver, mut sender) = h3::client::new(h3_quinn::Connection::new(connection)).await?;
    let driver = tokio::spawn(async move { poll_fn(|context| driver.poll_close(context)).await });
    let request = http::Request::get(format!("https://{name}/")).body(())?;
    let mut stream = sender.send_request(request).await?;
    stream.finish().await?;
    let status = stream.recv_response().await?.status();
    ensure!(status.is_success(), "{status}");
    let mut received = 0;
    while let Some(data) = stream.recv_data().await? {
        received += data.remaining();
    }
    drop((stream, sender));
    // It ends in an error when the connection does, also in the wanted way.
    let _ = driver.await.context("the connection's task")?;
    endpoint.wait_idle().await;
    println!("{port} {received}");
    Ok(())
}

/// What the client offers to speak: HTTP/3, and then unknown protocols of so many bytes altogether.
fn protocols(length: usize) -> Vec<Vec<u8>> {
    let filler = |number: usize| format!("{number:0>100}").into_bytes();
    std::iter::once(HTTP3.to_vec()).chain((0..length.div_ceil(100)).map(filler)).collect()
}
