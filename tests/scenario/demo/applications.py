# SPDX-License-Identifier: Apache-2.0
"""The servers, as Debian ships them: nginx, redis and mariadb, each a workload with files in a folder of its own."""
import os
import re
import shutil

from demo import inventory
from demo.report import check
from lib import netns
from lib.wait import until

NAMESPACE = "shop"
NGINX = """daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 80; listen [::]:80; location / {{ default_type text/plain; return 200 "$remote_addr $uri\\n"; }} }}
}}
"""


class Server:
    """One application. `pids` are those of the whole of it."""

    name, user, port, namespace = None, None, None, NAMESPACE
    account, labels = None, {}

    def __init__(self, town, node):
        self.ambit = town.ambit
        self.folder = os.path.join(town.folder, self.name)
        os.makedirs(self.folder)
        self.prepare()
        shutil.chown(self.folder, self.user, self.user)
        about = self.ambit.start(node, self.namespace, self.name, self.command(), self.account or self.name, self.user,
                                 **(self.labels or {"app": self.name}))
        self.ip4, self.ip6 = about["ips"]

    def prepare(self):
        """Files it needs."""

    def command(self):
        raise NotImplementedError

    def pids(self):
        """Of its processes, which are those in its network namespace."""
        now = self.ambit.workload(self.namespace, self.name)
        check(now["state"] == "running" and now["restarts"] == 0, f"{self.name}: {now}")
        return inventory.processes_like(now["pid"])

    def wait(self, ns):
        """Until it takes connections, over both families."""
        for ip in (self.ip4, self.ip6):
            until(f"{self.name} serves at {ip}", lambda: netns.connect(ns, ip, self.port, 1).close() or True, 20, 0.05)


class Nginx(Server):
    name, user, port = "web", "www-data", 80

    def prepare(self):
        with open(os.path.join(self.folder, "nginx.conf"), "w", encoding="ascii") as f:
            f.write(NGINX.format(folder=self.folder))

    def command(self):
        return ["nginx", "-e", f"{self.folder}/error.log", "-c", f"{self.folder}/nginx.conf"]

    def requests(self, marker):
        """Lines about requests with `marker` of its own log."""
        with open(os.path.join(self.folder, "access.log"), encoding="utf-8") as f:
            return [line for line in f if marker in line]

    def seen_clients(self, marker):
        """Addresses from which it saw requests with `marker`, by its own log."""
        return {line.split()[0] for line in self.requests(marker)}


class Redis(Server):
    name, user, port = "cache", "redis", 6379

    def command(self):
        return ["redis-server", "--bind", "0.0.0.0", "::", "--protected-mode", "no", "--save", "", "--dir", self.folder]


class Mariadb(Server):
    """The server speaks first here: a proxy that waits for the client's first bytes would wait for ever."""

    name, user, port = "db", "mysql", 3306
    ACCOUNT, PASSWORD = "shopper", "hunter-two"

    def prepare(self):
        data = os.path.join(self.folder, "data")
        netns.run(["mariadb-install-db", "--no-defaults", f"--user={self.user}", f"--datadir={data}",
                   "--skip-test-db", "--auth-root-authentication-method=socket", "--innodb-log-file-size=4M"])
        with open(os.path.join(self.folder, "init.sql"), "w", encoding="ascii") as f:
            f.write(f"CREATE USER IF NOT EXISTS '{self.ACCOUNT}'@'%' IDENTIFIED BY '{self.PASSWORD}';\n")

    def command(self):
        return ["mariadbd", "--no-defaults", f"--datadir={self.folder}/data", f"--socket={self.folder}/sock",
                f"--pid-file={self.folder}/pid", "--bind-address=*", f"--port={self.port}", "--skip-name-resolve",
                f"--init-file={self.folder}/init.sql", "--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M",
                "--performance-schema=off", "--skip-log-bin"]


def curl(ip, path, seconds=5):
    host = f"[{ip}]" if ":" in ip else ip
    return f"curl -sS -g --max-time {seconds} http://{host}/{path}"


def redis_cli(ip, *words):
    return f"redis-cli -h {ip} {' '.join(words)}"


def mariadb(ip, query):
    return (f"mariadb --no-defaults --connect-timeout=5 -h {ip} -u {Mariadb.ACCOUNT} -p{Mariadb.PASSWORD} -N -B "
            f"-e \"{query}\"")


def address_of(text):
    """The address in `addr=ADDRESS:PORT` of redis."""
    found = re.search(r"\baddr=(\S+):\d+", text)
    check(found, f"no address in {text!r}")
    return found[1].strip("[]")
