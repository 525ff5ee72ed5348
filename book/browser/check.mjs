// Looks at the built book as a reader does: every page, in a browser, wide and narrow, light and dark.
//
//   node check.mjs [--shots DIR] [--only PAGE]... [SITE]
//
// SITE is the folder of the built book; book/book unless it is given. --shots writes a picture of every page that is
// looked at. --only looks at this page, such as 02_accept_blocking.html, and not at the others. CHROMIUM says which
// browser to start. Nothing but this machine is spoken to.

import { execFileSync } from 'node:child_process';
import { createReadStream, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

const WIDTHS = [1280, 390];
const SCHEMES = ['light', 'dark'];
// Nobody's system asks for these: readers choose them. The colours are all that differs.
const CHOSEN_THEMES = ['rust', 'coal', 'ayu'];
// Between them, these have one of each thing that has colours.
const COLOURFUL = ['index.html', '02_accept_blocking.html', 'speed.html', 'troubleshooting.html', 'cards.html'];
const SEARCHED = 'half-close';
// What people type who are in trouble, and the page that has to be among the first three that are found.
const SYMPTOMS = {
  'hang': 'symptoms.html',
  'Connection reset by peer': 'symptoms.html',
  'deadlock': 'symptoms.html',
  'CLOSE_WAIT': 'troubleshooting.html',
  'Ctrl-C': 'symptoms.html',
  'port already in use': 'symptoms.html',
  'two messages': '04_partial_read_write.html',
  'slow': 'symptoms.html',
};
const LIMIT = 10_000; // milliseconds for what must come

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let looks = 0;
let faults = 0;

function fault(where, what) {
  faults += 1;
  console.log(`FALLS  ${where}: ${what}`);
}

main().catch(error => {
  console.error(`error: ${error.message}`);
  process.exit(2);
});

async function main() {
  const here = path.dirname(fileURLToPath(import.meta.url));
  const { values, positionals } = parseArgs({
    options: { shots: { type: 'string' }, only: { type: 'string', multiple: true } }, allowPositionals: true,
  });
  const site = path.resolve(positionals[0] ?? path.join(here, '..', 'book'));
  if (!existsSync(path.join(site, 'index.html'))) {
    throw new Error(`there is no built book in ${site}: type \`cargo book\` first`);
  }
  if (values.shots) {
    mkdirSync(values.shots, { recursive: true });
  }

  const server = await serve(site);
  const origin = `http://127.0.0.1:${server.address().port}`;
  const browser = await launch();
  try {
    const all = await listPages(browser, origin);
    const pages = values.only ?? all;
    const context = await newContext(browser, { width: WIDTHS[0] });
    for (const [words, page] of Object.entries(SYMPTOMS)) {
      await look(context, origin, all[0], `search for "${words}"`, tab => searchFor(tab, words, page));
    }
    await look(context, origin, all[1], 'skip link', skip);
    await look(context, origin, all[0], 'staircase', walkStaircase);
    for (const page of pages) {
      await look(context, origin, page, `${page}, players`, playFigures);
    }
    await context.close();
    // One look after another in each browser: a tab in the background doesn't scroll.
    await Promise.all(WIDTHS.map(async width => {
      const browser = await launch();
      const context = await newContext(browser, { width });
      for (const page of pages) {
        await look(context, origin, page, `${page}, pairs, ${width} px`, pairFigures);
      }
      await context.close();
      for (const colorScheme of SCHEMES) {
        const context = await newContext(browser, { width, colorScheme });
        const lookAt = (page, what, task) => look(context, origin, page, `${what}, ${width} px, ${colorScheme}`, task);
        for (const page of pages) {
          await lookAt(page, page, tab => readPage(tab, values.shots));
        }
        await lookAt(all[0], 'search', search);
        await lookAt(all[0], 'table of contents', toggleSidebar);
        await context.close();
      }
      await browser.close();
    }));
    for (const theme of CHOSEN_THEMES) {
      const context = await newContext(browser, { width: WIDTHS[0], theme });
      for (const page of COLOURFUL) {
        await look(context, origin, page, `${page}, ${theme}`, checkAccessibility);
      }
      await look(context, origin, all[0], `search, ${theme}`, search);
      await context.close();
    }
    console.log(`${pages.length} pages, looked at ${looks} times: ${faults} faults`);
  } finally {
    await browser.close();
    server.close();
  }
  process.exitCode = faults === 0 ? 0 : 1;
}

function launch() {
  return chromium.launch({ executablePath: browserPath(), args: ['--no-sandbox'] });
}

function browserPath() {
  if (process.env.CHROMIUM) {
    return process.env.CHROMIUM;
  }
  for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
    try {
      return execFileSync('which', [name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    } catch {
      // The next name.
    }
  }
  throw new Error('no Chromium was found: install it (on Debian, `apt-get install chromium`), or say in the variable '
    + 'CHROMIUM where it is');
}

/** Serves the files of a folder on a port of its own. */
function serve(folder) {
  const types = {
    '.html': 'text/html; charset=utf-8', '.css': 'text/css', '.js': 'text/javascript', '.svg': 'image/svg+xml',
    '.png': 'image/png', '.woff2': 'font/woff2', '.json': 'application/json',
  };
  const server = createServer((request, response) => {
    const asked = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
    let file = path.join(folder, path.normalize(asked));
    if (file.startsWith(folder) && existsSync(file) && statSync(file).isDirectory()) {
      file = path.join(file, 'index.html');
    }
    if (!file.startsWith(folder) || !existsSync(file)) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'content-type': types[path.extname(file)] ?? 'application/octet-stream' });
    createReadStream(file).pipe(response);
  });
  return new Promise((resolve, reject) => {
    server.on('error', reject).listen(0, '127.0.0.1', () => resolve(server));
  });
}

async function newContext(browser, { width, colorScheme = 'light', theme }) {
  const context = await browser.newContext({
    viewport: { width, height: 900 }, colorScheme, reducedMotion: 'reduce',
  });
  context.setDefaultTimeout(LIMIT);
  if (theme) {
    await context.addInitScript(name => localStorage.setItem('mdbook-theme', name), theme);
  }
  return context;
}

/** The pages that the table of contents lists. */
async function listPages(browser, origin) {
  const context = await newContext(browser, { width: WIDTHS[0] });
  const tab = await context.newPage();
  await tab.goto(`${origin}/index.html`);
  const links = await tab.locator('#mdbook-sidebar .chapter a[href]').evaluateAll(all => all.map(a => a.href));
  await context.close();
  const pages = links.filter(link => !link.includes('#')).map(link => new URL(link).pathname.slice(1));
  if (pages.length === 0) {
    throw new Error('the table of contents lists no page');
  }
  return [...new Set(pages)];
}

/** Opens a page, does something with it, and finds what the browser complains of. */
async function look(context, origin, page, where, task) {
  looks += 1;
  const tab = await context.newPage();
  tab.where = where;
  tab.on('console', message => {
    if (message.type() === 'error' || message.type() === 'warning') {
      fault(where, `the console says: ${message.text()}`);
    }
  });
  tab.on('pageerror', error => fault(where, `a script failed: ${error.message}`));
  tab.on('request', request => {
    const address = request.url();
    if (!address.startsWith(`${origin}/`) && !address.startsWith('data:')) {
      fault(where, `it asks another host for ${address}`);
    }
  });
  tab.on('response', response => {
    if (response.status() >= 400) {
      fault(where, `${response.url()} is answered with ${response.status()}`);
    }
  });
  try {
    await tab.goto(`${origin}/${page}`, { waitUntil: 'load' });
    await tab.evaluate(() => document.fonts.ready);
    await task(tab);
  } catch (error) {
    fault(where, error.message.split('\n')[0]);
  } finally {
    await tab.close();
  }
}

async function readPage(tab, shots) {
  await checkWidth(tab);
  await checkFigures(tab);
  if (shots) {
    const name = tab.where.replace(/\.html/, '').replace(/[^\w-]+/g, '_');
    await tab.screenshot({ path: path.join(shots, `${name}.png`), fullPage: true });
  }
  await openAnswers(tab);
  await scrollListings(tab);
  // Open, so that what is in the answers is looked at as well.
  await checkWidth(tab);
  await checkAccessibility(tab);
}

async function checkWidth(tab) {
  // mdBook cuts off what is too wide (overflow-x: clip), so the width of the page alone wouldn't show it.
  const wide = await tab.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const found = [];
    if (document.documentElement.scrollWidth > width) {
      found.push(`the page is ${document.documentElement.scrollWidth} px wide`);
    }
    const content = document.querySelector('#mdbook-content');
    if (content.scrollWidth > content.clientWidth) {
      found.push(`its text scrolls sideways, ${content.scrollWidth} px in ${content.clientWidth} px`);
    }
    for (const element of document.querySelectorAll('main *')) {
      const scrolled = element.closest('pre > code, .table-wrapper');
      if ((!scrolled || scrolled === element) && !element.closest('svg *') && element.checkVisibility()) {
        const { right } = element.getBoundingClientRect();
        if (right > width + 1) {
          found.push(`<${element.localName}> ends at ${Math.round(right)} px: ${element.textContent.trim().slice(0, 40)}`);
        }
      }
    }
    return found.slice(0, 3);
  });
  for (const what of wide) {
    fault(tab.where, `wider than the window: ${what}`);
  }
}

async function checkFigures(tab) {
  const silent = await tab.locator('main figure').evaluateAll(figures => figures.flatMap((figure, index) => {
    const lacks = [];
    const drawing = figure.querySelector('svg');
    for (const part of ['title', 'desc']) {
      if (drawing && !drawing.querySelector(`:scope > ${part}`)?.textContent.trim()) {
        lacks.push(`figure ${index + 1} has no <${part}>`);
      }
    }
    if (drawing && drawing.getBoundingClientRect().height < 20) {
      lacks.push(`figure ${index + 1} has no height`);
    }
    return lacks;
  }));
  for (const what of silent) {
    fault(tab.where, what);
  }
}

/** Each folded answer opens with the keyboard. They are left open. */
async function openAnswers(tab) {
  const answers = tab.locator('main details:not([open])');
  for (let left = await answers.count(); left > 0; left -= 1) {
    const summary = answers.first().locator('> summary');
    const text = (await summary.textContent()).trim();
    await summary.focus();
    await tab.keyboard.press('Enter');
    if (await answers.count() !== left - 1) {
      fault(tab.where, `the answer "${text}" doesn't open with Enter`);
      return;
    }
  }
}

/** Each listing that is wider than its place can be reached with Tab, and scrolls with an arrow. */
async function scrollListings(tab) {
  const wide = await tab.locator('main pre > code, main .table-wrapper').elementHandles();
  for (const block of wide) {
    if (!await block.evaluate(element => element.scrollWidth > element.clientWidth)) {
      continue;
    }
    const address = tab.url();
    await block.evaluate(element => element.focus());
    const focused = await block.evaluate(element => document.activeElement === element && element.tabIndex === 0);
    if (!focused) {
      fault(tab.where, `a wide listing can't have the focus: ${(await block.textContent()).trim().slice(0, 40)}`);
      return;
    }
    await tab.keyboard.press('ArrowRight');
    try {
      await tab.waitForFunction(element => element.scrollLeft > 0, block);
    } catch {
      fault(tab.where, `a wide listing doesn't scroll with the keyboard: ${(await block.textContent()).trim().slice(0, 40)}`);
      return;
    }
    if (tab.url() !== address) {
      fault(tab.where, 'an arrow in a wide listing turns the page');
      return;
    }
  }
}

async function search(tab) {
  await tab.keyboard.press('/');
  await tab.locator('#mdbook-searchbar').pressSequentially(SEARCHED);
  try {
    await tab.locator('#mdbook-searchresults a').first().waitFor();
  } catch {
    fault(tab.where, `a search for "${SEARCHED}" finds nothing`);
    return;
  }
  await checkAccessibility(tab);
}

/** These words lead to that page, by one of the first three places that are found. */
async function searchFor(tab, words, page) {
  await tab.keyboard.press('/');
  await tab.locator('#mdbook-searchbar').fill(words);
  await tab.locator('#mdbook-searchbar').dispatchEvent('keyup');
  await tab.locator('#mdbook-searchresults a').first().waitFor();
  const found = await tab.locator('#mdbook-searchresults a').evaluateAll(all => all.slice(0, 3).map(a => a.href));
  const places = found.map(link => link.replace(/^.*\//, '').replace(/\?highlight=[^#]*/, ''));
  if (!places.some(place => place.startsWith(page))) {
    fault(tab.where, `none of the first three places is on ${page}: ${places.join(', ')}`);
  }
}

/** The first thing that Tab reaches leads to the text. */
async function skip(tab) {
  await tab.keyboard.press('Tab');
  await tab.keyboard.press('Enter');
  if (!await tab.evaluate(() => document.activeElement === document.querySelector('main'))) {
    fault(tab.where, 'it doesn\'t lead to the text');
  }
}

/** The arrows lead from cell to cell, each cell tells its evidence, and Enter leads to the pitfall. */
async function walkStaircase(tab) {
  const address = tab.url();
  await tab.locator('.stairs td').first().focus();
  const told = new Set();
  for (const key of ['ArrowRight', 'ArrowDown', 'ArrowLeft', 'ArrowUp']) {
    await tab.keyboard.press(key);
    told.add(await tab.locator('.evidence').textContent());
  }
  if (told.size !== 4) {
    fault(tab.where, `four cells told ${told.size} things: ${[...told].join(' | ')}`);
  }
  if (tab.url() !== address) {
    fault(tab.where, 'an arrow turns the page');
    return;
  }
  await tab.keyboard.press('Enter');
  try {
    await tab.waitForURL(url => url.hash !== '');
  } catch {
    fault(tab.where, 'Enter leads nowhere');
  }
}

/** Each figure of a run is stepped through with the keyboard, on one screen, and tells each of its events. */
async function playFigures(tab) {
  const address = tab.url();
  const players = tab.locator('.player');
  for (let index = 0; index < await players.count(); index += 1) {
    const player = players.nth(index);
    const slider = player.locator('input');
    const events = Number(await slider.getAttribute('max'));
    await slider.focus();
    await tab.keyboard.press('ArrowLeft');
    if (Number(await slider.inputValue()) !== events - 1) {
      fault(tab.where, `the arrow keys don't step through figure ${index + 1}`);
    }
    // The other steps in the page itself: there are thousands.
    const { told, tallest, wrong } = await player.evaluate((element, events) => {
      const [slider, svg] = [element.querySelector('input'), element.parentElement.querySelector('svg')];
      const told = new Set();
      let [tallest, wrong] = [0, 0];
      const steps = Array.from(svg.querySelectorAll('.step'));
      for (let event = events - 1; event >= 0; event -= 1) {
        slider.value = event;
        slider.dispatchEvent(new Event('input'));
        told.add(element.querySelector('p').textContent);
        // What the kernel held is shown where it was recorded, and nowhere else.
        const cells = element.querySelectorAll('.kernel-side:not([hidden]) tbody td').length;
        const recorded = steps[event - 1]?.dataset.kernel;
        wrong += cells === (recorded ? JSON.parse(recorded).connections.length * 4 : 0) ? 0 : 1;
        tallest = Math.max(tallest, svg.getBoundingClientRect().height + element.getBoundingClientRect().height);
      }
      return { told: told.size, tallest, wrong };
    }, events);
    if (wrong > 0) {
      fault(tab.where, `at ${wrong} events figure ${index + 1} shows another kernel's side than was recorded`);
    }
    if (tallest > 820) {
      fault(tab.where, `figure ${index + 1} and its player take ${Math.round(tallest)} px`);
    }
    if (told !== events) {
      fault(tab.where, `figure ${index + 1} tells ${told} things of ${events} events`);
    }
    const hidden = await player.evaluate(element => element.parentElement.querySelectorAll('.later').length);
    if (hidden !== events) {
      fault(tab.where, `at its beginning, figure ${index + 1} hides ${hidden} of ${events} events`);
    }
    await player.locator('button').nth(1).focus();
    await tab.keyboard.press('Enter');
    if (await slider.inputValue() !== '1') {
      fault(tab.where, `the button of figure ${index + 1} doesn't step on`);
    }
  }
  if (tab.url() !== address) {
    fault(tab.where, 'an arrow in a player turns the page');
  }
}

/** A pitfall's figure and its cure's stand side by side, or one above the other, step together, and go back. */
async function pairFigures(tab) {
  const buttons = tab.locator('.beside');
  const titles = () => tab.locator('main figure title').allTextContents();
  const before = await titles();
  for (let index = 0; index < await buttons.count(); index += 1) {
    const button = buttons.nth(index);
    await button.focus();
    await tab.keyboard.press('Enter');
    const boxes = await tab.locator('.pair figure').evaluateAll(all => all.map(figure => figure.getBoundingClientRect().toJSON()));
    const isBeside = boxes.length === 2 && boxes[1].left >= boxes[0].right && boxes[1].top === boxes[0].top;
    const isBelow = boxes.length === 2 && boxes[1].top >= boxes[0].bottom;
    const isWide = tab.viewportSize().width >= 900;
    if (!(isWide ? isBeside : isBelow)) {
      fault(tab.where, `pair ${index + 1} doesn't stand as it should: ${JSON.stringify(boxes)}`);
      return;
    }
    await checkWidth(tab);
    const sliders = tab.locator('.pair .player input');
    await sliders.first().focus();
    await tab.keyboard.press('ArrowRight');
    await tab.keyboard.press('ArrowRight');
    const at = await sliders.evaluateAll(all => all.map(slider => slider.value));
    if (at.join() !== '3,3') {
      fault(tab.where, `after two arrows, pair ${index + 1} is at the events ${at}`);
    }
    const tallest = Math.max(...boxes.map(box => box.height));
    if (isWide && tallest > 900) {
      fault(tab.where, `pair ${index + 1} is ${Math.round(tallest)} px tall`);
    }
    await checkAccessibility(tab);
    await button.focus();
    await tab.keyboard.press('Enter');
    if ((await titles()).join() !== before.join()) {
      fault(tab.where, `the figures of pair ${index + 1} don't go back to their places`);
      return;
    }
  }
}

async function toggleSidebar(tab) {
  const isOpen = () => tab.locator('#mdbook-sidebar').evaluate(sidebar => {
    const { left, width } = sidebar.getBoundingClientRect();
    return width > 0 && left >= 0;
  });
  const before = await isOpen();
  const toggle = tab.locator('button[aria-controls="mdbook-sidebar"]');
  for (const key of ['Enter', ' ']) {
    const open = await isOpen();
    await toggle.focus();
    await tab.keyboard.press(key);
    try {
      await tab.waitForFunction(was => {
        const { left, width } = document.querySelector('#mdbook-sidebar').getBoundingClientRect();
        return (width > 0 && left >= 0) !== was;
      }, open);
    } catch {
      fault(tab.where, `it doesn't ${open ? 'close' : 'open'} with the key "${key}"`);
      return;
    }
    const told = await toggle.getAttribute('aria-expanded');
    if (told !== String(!open)) {
      fault(tab.where, `its button says aria-expanded="${told}"`);
    }
    await checkAccessibility(tab);
  }
  if (await isOpen() !== before) {
    fault(tab.where, 'two keys did not bring it back to where it was');
  }
}

/** What axe finds in the whole page that is serious or critical. */
async function checkAccessibility(tab) {
  await tab.evaluate(AXE);
  const found = await tab.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ['violations'] });
    return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(violation => {
      // One example of each reason, such as each pair of colours.
      const examples = new Map();
      for (const node of violation.nodes) {
        const reason = [...node.any, ...node.all, ...node.none].map(check => check.message).join(' ');
        examples.set(reason, `${node.html.slice(0, 120)} ${reason}`);
      }
      const { id, impact, help } = violation;
      return { id, impact, help, examples: [...examples.values()] };
    });
  });
  for (const { id, impact, help, examples } of found) {
    for (const example of examples) {
      fault(tab.where, `${impact}, ${id}: ${help}: ${example}`);
    }
  }
}
