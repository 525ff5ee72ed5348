// What mdBook's own theme lacks for those who use the keyboard. A file that is called as one of mdBook's own, such as
// book.js, would replace it.
'use strict';

// The button that opens the table of contents is a label, which can't have the focus: this puts a button before it.
(function sidebarToggle() {
    const label = document.getElementById('mdbook-sidebar-toggle');
    const checkbox = document.getElementById('mdbook-sidebar-toggle-anchor');
    if (!label || !checkbox) {
        return;
    }
    const button = document.createElement('button');
    button.type = 'button';
    button.className = label.className;
    button.title = label.title;
    for (const name of ['aria-label', 'aria-controls']) {
        button.setAttribute(name, label.getAttribute(name));
    }
    button.append(...label.childNodes);
    const tellState = () => button.setAttribute('aria-expanded', checkbox.checked);
    tellState();
    checkbox.addEventListener('change', tellState);
    // mdBook listens to the label.
    button.addEventListener('click', () => label.click());
    label.before(button);
    label.hidden = true;
    label.classList.add('hidden');
})();

// The search field is named by its placeholder alone, which is gone once something is typed.
(function searchField() {
    const field = document.getElementById('mdbook-searchbar');
    field?.setAttribute('aria-label', field.placeholder);
})();

// Wide listings and tables scroll, which the keyboard can only do with what has the focus.
(function scrollableBlocks() {
    const blocks = Array.from(document.querySelectorAll('main pre > code, main .table-wrapper'));

    function update() {
        for (const block of blocks) {
            if (block.scrollWidth > block.clientWidth) {
                block.tabIndex = 0;
                block.setAttribute('role', 'group');
                block.setAttribute('aria-label', block.tagName === 'CODE' ? 'Listing' : 'Table');
            } else {
                for (const name of ['tabindex', 'role', 'aria-label']) {
                    block.removeAttribute(name);
                }
            }
        }
    }

    for (const block of blocks) {
        // mdBook turns the page with these keys. Here they scroll.
        block.addEventListener('keydown', event => {
            if (block.tabIndex === 0 && (event.key === 'ArrowLeft' || event.key === 'ArrowRight')) {
                event.stopPropagation();
            }
        });
    }
    update();
    window.addEventListener('resize', update);
    document.fonts.ready.then(update);
    // What is folded has no width before it is opened.
    for (const details of document.querySelectorAll('main details')) {
        details.addEventListener('toggle', update);
    }
})();

// The first thing that Tab reaches leads past the table of contents and the menu.
(function skipLink() {
    const text = document.querySelector('main');
    if (!text) {
        return;
    }
    text.tabIndex = -1;
    const link = document.createElement('a');
    link.className = 'skip-link';
    link.href = '#mdbook-content';
    link.textContent = 'Skip to the text';
    link.addEventListener('click', event => {
        // Not the address: on the page for what isn't there it would lead elsewhere.
        event.preventDefault();
        text.focus();
        text.scrollIntoView();
    });
    document.body.prepend(link);
})();

// Commands, and names such as half-close, are broken at their spaces and not at their hyphens.
(function unbrokenNames() {
    const NAME = /^\S+-\S+$/;
    for (const element of document.querySelectorAll('main :not(pre) > code, main pre > .language-sh, main a, nav .chapter-item a')) {
        for (const node of Array.from(element.childNodes).filter(child => child.nodeType === Node.TEXT_NODE)) {
            const words = node.data.split(/(\s+)/);
            if (element.closest('svg') || !words.some(word => NAME.test(word) && word.length <= 30)) {
                continue;
            }
            node.replaceWith(...words.map(word => {
                if (!NAME.test(word) || word.length > 30) {
                    return word;
                }
                const whole = document.createElement('span');
                whole.className = 'unbroken';
                whole.textContent = word;
                return whole;
            }));
        }
    }
})();

// Commands, and what one or a scene has printed, are told by their first line: "$ cargo run", "  the pitfall: …".
for (const code of document.querySelectorAll('main pre > .language-text')) {
    code.classList.toggle('told', /^(\$ |--[ \w]| {2}the (pitfall|cure): )/.test(code.textContent));
}

// An excerpt begins at the margin, wherever its code stands in the file. What is copied is the same.
(function withoutIndentation() {
    for (const code of document.querySelectorAll('main pre > code')) {
        const lines = code.textContent.split('\n').filter(line => line.trim());
        const indent = Math.min(...lines.map(line => line.search(/\S/)));
        if (!(indent > 0) || code.matches('.language-text')) {
            continue;
        }
        const texts = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
        // How much of this line's indentation is still to go.
        let left = indent;
        while (texts.nextNode()) {
            let kept = '';
            for (const character of texts.currentNode.data) {
                if (character === '\n') {
                    left = indent;
                } else if (left > 0) {
                    left -= 1;
                    continue;
                }
                kept += character;
            }
            texts.currentNode.data = kept;
        }
    }
})();

// The line that matters is marked: a listing names a text that is in that line alone (```rust,falls:TEXT). Without this it
// is a line like the others.
(function markedLines() {
    for (const code of document.querySelectorAll('main pre > code[class*=":"]')) {
        for (const [, verdict, text] of Array.from(code.classList, name => /^(falls|holds):(.+)$/.exec(name)).filter(Boolean)) {
            const all = code.textContent;
            const at = all.indexOf(text);
            if (at < 0) {
                continue;
            }
            const [from, to] = [all.lastIndexOf('\n', at) + 1, all.indexOf('\n', at) + 1 || all.length];
            const [range, texts] = [document.createRange(), document.createTreeWalker(code, NodeFilter.SHOW_TEXT)];
            let before = 0;
            while (texts.nextNode()) {
                const { length } = texts.currentNode;
                if (from >= before && from < before + length) {
                    range.setStart(texts.currentNode, from - before);
                }
                if (to > before && to <= before + length) {
                    range.setEnd(texts.currentNode, to - before);
                }
                before += length;
            }
            const mark = Object.assign(document.createElement('mark'), { className: verdict });
            mark.append(range.extractContents());
            range.insertNode(mark);
        }
    }
})();

// The staircase tells the evidence of the cell that is pointed at, or that has the focus. One Tab leads into a table, the
// arrows lead from cell to cell.
(function staircase() {
    for (const stairs of document.querySelectorAll('.stairs:not(.here)')) {
        const evidence = document.createElement('p');
        evidence.className = 'evidence';
        evidence.setAttribute('role', 'status');
        evidence.textContent = 'Point at a cell: what happened there is told here.';
        stairs.after(evidence);
        for (const table of stairs.querySelectorAll('table')) {
            const rows = Array.from(table.tBodies[0].rows, row => Array.from(row.querySelectorAll('td')));
            for (const [down, row] of rows.entries()) {
                for (const [across, cell] of row.entries()) {
                    cell.dataset.evidence = cell.title;
                    cell.setAttribute('aria-label', cell.title);
                    cell.removeAttribute('title');
                    cell.tabIndex = down + across === 0 ? 0 : -1;
                    const tell = () => { evidence.textContent = cell.dataset.evidence; };
                    cell.addEventListener('mouseenter', tell);
                    cell.addEventListener('focus', () => {
                        tell();
                        table.querySelector('td[tabindex="0"]').tabIndex = -1;
                        cell.tabIndex = 0;
                    });
                    cell.addEventListener('click', () => cell.focus());
                    cell.addEventListener('keydown', event => {
                        const [y, x] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [];
                        if (event.key === 'Enter') {
                            cell.closest('tr').querySelector('a').click();
                        } else if (y !== undefined) {
                            // Neither is the page turned nor scrolled.
                            event.stopPropagation();
                            event.preventDefault();
                            rows[down + y]?.[across + x]?.focus();
                        }
                    });
                }
            }
        }
    }
})();

// A figure can be played: its events appear one after the other. Without this, all of them stand there.
(function players() {
    // How much of a tall figure is shown at once, in its own units: less where the kernel's side stands below it.
    const WINDOW = { alone: 540, withKernel: 340 };
    const PAUSE = { least: 600, most: 3000 }; // milliseconds between two events when it plays by itself
    const players = new Map();
    for (const svg of document.querySelectorAll('main figure > svg.tcp-figure')) {
        const steps = Array.from(svg.querySelectorAll('.step'));
        const heads = svg.querySelector('.heads');
        // The first line of the description is the title.
        const words = svg.querySelector('desc').textContent.split('\n').slice(1);
        if (steps.length < 4 || words.length !== steps.length) {
            continue;
        }
        const player = document.createElement('div');
        player.className = 'player';
        const button = (sign, name) => {
            const made = Object.assign(document.createElement('button'), { type: 'button', textContent: sign, title: name });
            made.setAttribute('aria-label', name);
            return made;
        };
        const [back, play, forward] = [button('◀', 'One event back'), button('▶▶', 'Play'), button('▶', 'One event on')];
        const slider = Object.assign(document.createElement('input'), { type: 'range', min: 0, max: steps.length, value: steps.length });
        slider.setAttribute('aria-label', 'Event');
        const told = document.createElement('p');
        told.setAttribute('role', 'status');
        player.append(back, slider, forward, play, told);
        svg.after(player);
        const hasKernel = steps.some(step => step.dataset.kernel);
        const kernel = document.createElement('div');
        kernel.className = 'kernel-side';
        kernel.hidden = true;
        if (hasKernel) {
            player.append(kernel);
        }

        const [, , width, height] = svg.getAttribute('viewBox').split(' ').map(Number);
        let timer;
        const me = { figure: svg.parentElement, player, step, partner: undefined };
        players.set(svg.querySelector('title').id, me);

        function show(event) {
            const isWhole = event === steps.length;
            // From the first touch on, a tall figure keeps to one screen. When all is shown, it is all there again, but not
            // beside another.
            const most = hasKernel ? WINDOW.withKernel : WINDOW.alone;
            const shown = me.partner ? most : isWhole ? height : Math.min(height, most);
            const { y = 0, height: tall = 0 } = steps[event - 1]?.getBBox() ?? {};
            const from = Math.max(0, Math.min(y + tall + 40 - shown, height - shown));
            svg.setAttribute('viewBox', `0 ${from} ${width} ${shown}`);
            svg.setAttribute('height', shown * 4 / 3);
            const top = heads.getBBox().y;
            heads.setAttribute('transform', `translate(0 ${Math.max(0, from - top)})`);
            svg.append(heads);
            for (const [index, step] of steps.entries()) {
                step.classList.toggle('later', index >= event);
                step.classList.toggle('now', index === event - 1 && !isWhole);
            }
            const at = steps[event - 1]?.dataset.at;
            told.textContent = event === 0 ? 'Nothing has happened yet.'
                : `${event} of ${steps.length}${at ? `, after ${at} s` : ''}: ${words[event - 1]}`;
            back.disabled = event === 0;
            forward.disabled = isWhole;
            kernel.hidden = event === 0 || isWhole;
            kernel.replaceChildren(...kernelSide(steps[event - 1]?.dataset.kernel));
            // The text below it moves down once, and not up and down.
            kernel.style.minHeight = `${kernel.offsetHeight}px`;
        }

        function step(event) {
            slider.value = Math.max(0, Math.min(event, steps.length));
            show(Number(slider.value));
        }

        // Beside another, both step together: their clients do the same, up to the event at which the servers differ.
        function go(event) {
            step(event);
            me.partner?.step(event);
        }

        function stop() {
            clearTimeout(timer);
            timer = undefined;
            play.textContent = '▶▶';
            play.title = 'Play';
            play.setAttribute('aria-label', 'Play');
        }

        function playOn() {
            const event = Number(slider.value);
            if (event >= steps.length) {
                stop();
                return;
            }
            go(event + 1);
            const [now, next] = [steps[event], steps[event + 1]].map(step => Number(step?.dataset.at));
            const wait = Number.isNaN(next - now) ? PAUSE.least : (next - now) * 1000;
            timer = setTimeout(playOn, Math.max(PAUSE.least, Math.min(wait, PAUSE.most)));
        }

        back.addEventListener('click', () => { stop(); go(Number(slider.value) - 1); });
        forward.addEventListener('click', () => { stop(); go(Number(slider.value) + 1); });
        slider.addEventListener('input', () => { stop(); go(Number(slider.value)); });
        play.addEventListener('click', () => {
            if (timer !== undefined) {
                stop();
                return;
            }
            if (Number(slider.value) === steps.length) {
                go(0);
            }
            play.textContent = '❚❚';
            play.title = 'Pause';
            play.setAttribute('aria-label', 'Pause');
            timer = setTimeout(playOn, PAUSE.least);
        });
        // mdBook turns the page with the arrows. Here they step through the events.
        player.addEventListener('keydown', event => {
            if (event.key.startsWith('Arrow')) {
                event.stopPropagation();
            }
            if (event.target !== slider && (event.key === 'ArrowLeft' || event.key === 'ArrowRight')) {
                stop();
                go(Number(slider.value) + (event.key === 'ArrowRight' ? 1 : -1));
            }
        });
        told.textContent = `${steps.length} events. Step through them with the slider, or with the arrow keys${
            hasKernel ? ', and see what the kernel holds after each' : ''}.`;
        forward.disabled = true;
    }
    for (const [title, pitfall] of players) {
        const cure = players.get(title.replace(/-pitfall-title$/, '-cure-title'));
        if (cure && cure !== pitfall) {
            sideBySide(pitfall, cure);
        }
    }

    // The cure's figure stands further down, where the text speaks of it. It can be taken up beside the pitfall's.
    function sideBySide(pitfall, cure) {
        const [pair, left] = [document.createElement('div'), document.createElement('p')];
        pair.className = 'pair';
        left.textContent = 'This figure stands further up now, beside that of the pitfall.';
        const beside = Object.assign(document.createElement('button'), {
            type: 'button', className: 'beside', textContent: 'Beside the cure',
        });
        beside.setAttribute('aria-pressed', false);
        pitfall.player.append(beside);
        beside.addEventListener('click', () => {
            const isApart = !pair.isConnected;
            beside.setAttribute('aria-pressed', isApart);
            [pitfall.partner, cure.partner] = isApart ? [cure, pitfall] : [];
            if (isApart) {
                pitfall.figure.before(pair);
                cure.figure.before(left);
                pair.append(pitfall.figure, cure.figure);
            } else {
                pair.replaceWith(pitfall.figure);
                left.replaceWith(cure.figure);
            }
            // Together they begin at the beginning; alone, each is whole again.
            pitfall.step(isApart ? 1 : Infinity);
            cure.step(isApart ? 1 : Infinity);
            beside.focus();
        });
    }
})();

// What was recorded of the kernel after an event, as a picture that can be read aloud: a table whose cells are queues.
function kernelSide(recorded) {
    const make = (name, text, attributes = {}) => Object.assign(document.createElement(name), { textContent: text, ...attributes });
    if (!recorded) {
        return [make('p', 'The kernel was not recorded here: not all had come to rest, or the server had ended.')];
    }
    const { connections, threads } = JSON.parse(recorded);
    const table = document.createElement('table');
    table.append(make('caption', 'What the kernel holds, in bytes, when all has come to rest'));
    const row = (parent, ...cells) => {
        const made = document.createElement('tr');
        made.append(...cells);
        parent.append(made);
    };
    const head = (text, colSpan = 1, scope = 'col') => make('th', text, { colSpan, scope });
    const names = table.createTHead();
    row(names, make('td', ''), head('to the server', 2, 'colgroup'), head('to the client', 2, 'colgroup'));
    row(names, make('td', ''), ...['send queue', 'receive queue', 'send queue', 'receive queue'].map(text => head(text)));
    for (const [isQueued, title] of [[false, 'accepted'], [true, 'in the accept queue']]) {
        const group = connections.filter(connection => connection.is_queued === isQueued);
        if (group.length === 0) {
            continue;
        }
        const body = table.createTBody();
        body.className = isQueued ? 'queued' : '';
        row(body, head(`${title}: ${group.length}`, 5, 'rowgroup'));
        for (const held of group) {
            const queue = bytes => make('td', bytes.toLocaleString('en'), { className: bytes ? 'full' : '' });
            row(body, head(held.client, 1, 'row'),
                ...[held.client_sends, held.server_receives, held.server_sends, held.client_receives].map(queue));
        }
    }
    const sleepers = make('p', {
        0: 'The server is halted (SIGSTOP).',
        1: 'The server’s thread sleeps in ',
    }[threads.length] ?? `The server’s ${threads.length} threads sleep in `);
    for (const [index, { call, of }] of threads.entries()) {
        sleepers.append(index ? ', ' : '', make('code', call), of ? ` (${of})` : '');
    }
    return [connections.length > 0 ? table : make('p', 'The kernel holds no connection.'), sleepers];
}

// On paper, answers don't stand below their questions: they are collected at the end.
(function answersAtTheEnd() {
    if (!/print\.html$/.test(location.pathname)) {
        return;
    }
    // The figure stands above it.
    for (const details of document.querySelectorAll('main figure + details')) {
        details.remove();
    }
    const answers = Array.from(document.querySelectorAll('main details')).filter(
        details => /^(Answer|The answer|What happened)/.test(details.querySelector('summary')?.textContent ?? ''));
    const appendix = document.createElement('section');
    appendix.innerHTML = '<h1>Answers</h1>';
    let page;
    for (const [index, details] of answers.entries()) {
        const name = `answer-${index + 1}`;
        let before = details;
        do {
            before = before.previousElementSibling ?? before.parentElement;
        } while (before.localName !== 'h1' && before.localName !== 'main');
        if (before !== page) {
            page = before;
            appendix.append(Object.assign(document.createElement('h2'), { textContent: page.textContent }));
        }
        const answer = document.createElement('div');
        answer.id = name;
        answer.innerHTML = `<p><strong>${index + 1}.</strong></p>`;
        answer.append(...Array.from(details.childNodes).filter(node => node.localName !== 'summary'));
        appendix.append(answer);
        const link = Object.assign(document.createElement('a'), { href: `#${name}`, textContent: `Answer ${index + 1}` });
        const place = document.createElement('p');
        place.append(link, ' is at the end.');
        details.replaceWith(place);
    }
    document.querySelector('main').append(appendix);
})();
