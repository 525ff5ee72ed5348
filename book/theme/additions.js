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
