// What the page "In Python, JavaScript, Go and C" says of Node.js, seen in a run. Ends with an error if one isn't so.
'use strict';
const net = require('node:net');
const { once } = require('node:events');
const { spawn } = require('node:child_process');

function seen(trap, isSo) {
  if (!isSo) {
    console.error(`${trap}: this is not so in Node.js ${process.version}`);
    process.exit(1);
  }
  console.log(trap);
}

// A client and the server's side of its connection.
async function pair(options = {}) {
  const server = net.createServer(options).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = net.connect({ port: server.address().port, host: '127.0.0.1', allowHalfOpen: true });
  const [[socket]] = await Promise.all([once(server, 'connection'), once(client, 'connect')]);
  server.close();
  client.on('error', () => {});
  return { client, socket, server };
}

// All that comes until the end.
async function text(stream) {
  const chunks = [];
  stream.on('data', (chunk) => chunks.push(chunk));
  await once(stream, 'end');
  return Buffer.concat(chunks);
}

// A chunk is what one read took: not a line, not a message.
async function chunksAreReads() {
  const { client, socket } = await pair();
  client.write('one\ntwo\nthr');
  const [chunk] = await once(socket, 'data');
  seen('data-is-no-message', chunk.toString() === 'one\ntwo\nthr');
  client.destroy();
}

// With no listener for "error", a client that resets ends the whole server.
async function errorsWithoutListener() {
  const program = `
    const server = require('node:net').createServer((socket) => socket.resume());
    server.listen(0, '127.0.0.1', () => console.log(server.address().port));`;
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'ignore'] });
  const [port] = await once(child.stdout, 'data');
  const client = net.connect(Number(port), '127.0.0.1');
  await once(client, 'connect');
  const ended = once(child, 'exit');
  client.resetAndDestroy();
  seen('a-reset-without-error-listener-ends-the-server', (await ended)[0] !== 0);
}

// A client that ends its side is answered with the end, unless allowHalfOpen is set: what is said later is lost.
async function halfOpen() {
  for (const allowHalfOpen of [false, true]) {
    const { client, socket } = await pair({ allowHalfOpen });
    socket.on('error', () => {});
    socket.resume();
    socket.on('end', () => setTimeout(() => socket.writable && socket.end('late'), 100));
    client.end();
    seen(`half-open-${allowHalfOpen}`, (await text(client)).toString() === (allowHalfOpen ? 'late' : ''));
  }
}

// end() sends what was written and then the end; it doesn't close while the client goes on.
async function endLeavesOpen() {
  const { client, socket } = await pair({ allowHalfOpen: true });
  socket.resume();
  socket.end('bye\n');
  const heard = await text(client);
  seen('end-sends-what-was-written', heard.toString() === 'bye\n');
  seen('end-does-not-close', !socket.destroyed);
  client.end();
}

// destroy() throws away what was written but not sent.
async function destroyLosesWrites() {
  const { client, socket } = await pair();
  const all = 64 * 1024 * 1024;
  socket.on('error', () => {});
  socket.write(Buffer.alloc(all));
  socket.destroy();
  let got = 0;
  client.on('data', (chunk) => { got += chunk.length; });
  await new Promise((resolve) => { client.on('end', resolve).on('error', resolve); });
  seen('destroy-loses-what-was-written', got < all);
}

// destroySoon() sends all of it, and closes then, without waiting for the client's end: what that sends later is answered
// with a reset.
async function destroySoon() {
  const quiet = await pair();
  quiet.socket.write(Buffer.alloc(4 * 1024 * 1024));
  quiet.socket.destroySoon();
  seen('destroy-soon-sends-all', (await text(quiet.client)).length === 4 * 1024 * 1024);

  const { client, socket } = await pair();
  socket.resume();
  const failed = once(client, 'error');
  socket.destroySoon();
  const sending = setInterval(() => client.write('more'), 5);
  const [error] = await failed;
  clearInterval(sending);
  seen('destroy-soon-cuts-off-who-goes-on', ['ECONNRESET', 'EPIPE'].includes(error.code));
}

// write() never waits: what a client doesn't take is kept in memory. It says so by returning false.
async function writesPileUp() {
  const { client, socket } = await pair();
  client.pause();
  let goesOn;
  for (let times = 0; times < 32; times += 1) goesOn = socket.write(Buffer.alloc(1024 * 1024));
  seen('write-keeps-what-is-not-taken', goesOn === false && socket.writableLength > 8 * 1024 * 1024);
  socket.destroy();
  client.destroy();
}

// setTimeout on a socket only tells; each byte starts it again.
async function timeoutOnlyTells() {
  const { client, socket } = await pair();
  socket.resume();
  socket.setTimeout(100);
  await once(socket, 'timeout');
  seen('a-timeout-closes-nothing', !socket.destroyed);
  client.destroy();
}

// Characters are cut where chunks are: chunk.toString() of half a character gives replacement characters.
async function characters() {
  const { client, socket } = await pair();
  const whole = Buffer.from('é');
  let heard = '';
  client.setNoDelay(true);
  client.write(whole.subarray(0, 1));
  heard += (await once(socket, 'data'))[0].toString();
  client.write(whole.subarray(1));
  heard += (await once(socket, 'data'))[0].toString();
  seen('characters-are-cut-at-chunks', heard !== 'é');
  client.destroy();
}

// close() takes no more clients, and ends only when the last has gone.
async function closeWaits() {
  const server = net.createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = net.connect(server.address().port, '127.0.0.1');
  await Promise.all([once(server, 'connection'), once(client, 'connect')]);
  let closed = false;
  server.close(() => { closed = true; });
  const late = net.connect(client.remotePort, '127.0.0.1');
  const [error] = await once(late, 'error');
  seen('close-refuses-at-once', error.code === 'ECONNREFUSED');
  seen('close-waits-for-clients', !closed);
  client.destroy();
  await once(server, 'close');
}

(async () => {
  for (const trap of [chunksAreReads, errorsWithoutListener, halfOpen, endLeavesOpen, destroyLosesWrites, destroySoon,
    writesPileUp, timeoutOnlyTells, characters, closeWaits]) await trap();
})();
