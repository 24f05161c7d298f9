"""A time-stamping authority (RFC 3161) on loopback, which signs with a key of its own by openssl.

    with Authority(folder) as tsa:
        main(["stamp", "--tsa", tsa.url, "--tsa_ca", str(tsa.root)])

`answers` is what it does instead of stamping what it is asked: ("status", 503), ("body", b"...") or
("stamps", 64 hex digits). It stamps the machine's time.
"""

import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONFIG = """[tsa]
default_tsa = authority
[authority]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
[signer]
extendedKeyUsage = critical,timeStamping
"""


class Authority:
    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.root, self.answers, self.asked = folder, folder / "root.pem", None, []
        (folder / "tsa.cnf").write_text(CONFIG)
        key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3"
        self._openssl(f"req -x509 {key} -keyout root.key -out root.pem -subj /CN=root")
        self._openssl(f"req {key} -keyout signer.key -out signer.csr -subj /CN=authority")
        self._openssl(
            "x509 -req -in signer.csr -CA root.pem -CAkey root.key -CAcreateserial "
            "-extfile tsa.cnf -extensions signer -days 2 -out signer.pem"
        )

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}/tsr"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._server.server_close()

    def reply(self, query):
        """The stamp of what a query asks for."""
        (self.folder / "query.tsq").write_bytes(query)
        signer = "-signer signer.pem -inkey signer.key -chain root.pem"
        self._openssl(f"ts -reply -config tsa.cnf -queryfile query.tsq {signer} -out reply.tsr")
        return (self.folder / "reply.tsr").read_bytes()

    def stamp(self, sha256):
        """The stamp of a hash, of whatever ledger."""
        return self.reply(self._openssl(f"ts -query -sha256 -digest {sha256} -cert -no_nonce"))

    def _openssl(self, words):
        done = subprocess.run(
            ["openssl", *words.split()], cwd=self.folder, capture_output=True, check=True
        )
        return done.stdout


def _handler(authority):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            query = self.rfile.read(int(self.headers["content-length"]))
            authority.asked.append((self.headers["content-type"], query))
            how, what = authority.answers or ("right", None)
            replies = {"right": lambda: authority.reply(query), "body": lambda: what}
            replies |= {"stamps": lambda: authority.stamp(what), "status": lambda: b"no"}
            self.send_response(what if how == "status" else 200)
            self.send_header("content-type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write(replies[how]())

        def log_message(self, *words):
            pass

    return Handler
