const http = require("node:http");

const server = http.createServer((request, response) => {
  setTimeout(() => response.end("hello\n"), request.url === "/slow" ? 2000 : 0);
});
server.listen(Number(process.argv[2]), "127.0.0.1");
if (process.argv[3] === "close") process.on("SIGTERM", () => server.close());
