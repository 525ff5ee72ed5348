// On the page that holds the whole book for printing: a title page, no figure a second time in words, and the answers at the
// end, away from their questions.
// Without this, each answer stands open under its question.
'use strict';

(function paper() {
    const main = document.querySelector('main');
    if (!main || !/\/print[^/]*\.html$/.test(location.pathname)) {
        return;
    }

    function make(tag, className, ...content) {
        const element = document.createElement(tag);
        element.className = className;
        element.append(...content);
        return element;
    }

    function link(target, text) {
        const anchor = make('a', '', text);
        anchor.href = `#${target}`;
        return anchor;
    }

    const answers = make('section', 'answers', make('h1', '', 'Answers'));
    let chapter = '';
    let written = '';
    let number = 0;
    // The list is made before anything is moved.
    for (const element of main.querySelectorAll('h1, details')) {
        const summary = element.querySelector('summary');
        if (element.tagName === 'H1') {
            chapter = element.textContent;
        } else if (summary.textContent.trim() === 'The same as text') {
            element.remove(); // for those who can't see the figure
        } else if (/^(Answer|What happened|The places)/.test(summary.textContent.trim())) {
            if (written !== chapter) {
                written = chapter;
                answers.append(make('h2', '', chapter));
            }
            number += 1;
            const question = make('p', 'to-answer', link(`answer-${number}`, `Answer ${number}, at the end of the book`));
            question.id = `question-${number}`;
            const answer = make('div', 'answer', make('p', '', link(`question-${number}`, `Answer ${number}`)));
            answer.id = `answer-${number}`;
            element.before(question);
            summary.remove();
            answer.append(...element.childNodes);
            element.remove();
            answers.append(answer);
        }
    }
    main.append(answers);

    const about = document.querySelector('meta[name="description"]')?.content ?? '';
    const title = make('section', 'title-page', make('p', 'title', document.title), make('p', '', about));
    main.prepend(title);
})();
