// One click, or a few, on something that the instruction names.
(() => {
  const {tell, words} = window.agentenvOracle;
  const {all, one, text, withText, shown, instruction, bold, match, click, hover, first, each, memory, place, wait} = words;

  tell('click-test focus-text', () => click('#subbtn, #tt'));
  tell('click-test-2', () => click('#subbtn'));
  tell('click-test-transfer', () => click(withText('#area button', match(/button (\w+)/)[0])));
  tell('click-button-sequence', () => click(buttonsPushed.length ? '#subbtn2' : '#subbtn'));
  tell('click-button unicode-test', () => click(withText('#area button', match(/on the "(.*)" button/)[0])));
  tell('click-link', () => click(withText('#area .alink', match(/link "(.*)"/)[0])));
  tell('click-color', () => click(`#area .color[data-color="${match(/on the (\w+) colored/)[0]}"]`));
  tell('click-dialog', () => click('.ui-dialog-titlebar-close'));
  tell('click-dialog-2', () => {
    const wanted = match(/labeled "(.*)"/)[0];
    return click(wanted === 'x' ? '.ui-dialog-titlebar-close' : withText('.ui-dialog-buttonset button', wanted));
  });
  tell('click-widget', () => click(`#area [data-type="${match(/on a "(\w+)"/)[0]}"]`));
  tell('focus-text-2', () => click(`#tt${match(/the (\d)/)[0]}`));
  tell('grid-coordinate', () => click(document.getElementById(match(/coordinate (\S+)\./)[0])));

  tell('click-tab', () => click(`#area a[href="#tabs-${match(/#(\d)/)[0]}"]`));
  // The tab that holds the link, and then the link; in the medium one the second tab alone, where the first has it not.
  const inTabs = () => {
    const link = withText('#area .alink', match(/link "(.*)"/)[0]);
    if (!link) return click('#area a[href="#tabs-2"]');
    return shown(link) ? click(link) : click(`#area a[href="#${link.closest('.ui-tabs-panel').id}"]`);
  };
  tell('click-tab-2 click-tab-2-easy click-tab-2-medium click-tab-2-hard', inTabs);
  tell('click-collapsible click-collapsible-nodelay', () =>
    (all('.ui-accordion-content').some(shown) ? click('#subbtn') : click('#area h3')));
  tell('click-collapsible-2 click-collapsible-2-nodelay', () => {
    const link = withText('#area .alink', match(/link "(.*)"/)[0]);
    return shown(link) ? click(link) : click(link.closest('.ui-accordion-content').previousElementSibling);
  });

  // Submenus open where the pointer rests.
  const throughMenu = (item) => {
    const above = [];
    for (let menu = item.parentElement.closest('li'); menu; menu = menu.parentElement.closest('li')) above.unshift(menu);
    const closed = above.find((each) => !shown(each.querySelector('ul')));
    return closed ? hover(closed.querySelector('div')) : click(item.querySelector('div'));
  };
  tell('click-menu', () => {
    const leaf = instruction().replace('Select ', '').split('>').pop();
    return throughMenu(all('#menu li').find((item) => !item.querySelector('ul') && text(item) === leaf));
  });
  tell('click-menu-2', () => {
    if (!shown(one('#menu'))) return click('#open-menu');
    const [label] = match(/labeled "(.*)"/);
    const icon = one('#query .ui-icon');
    return throughMenu(all('#menu li').find((item) => !item.querySelector('ul')
      && (label ? text(item) === label : item.querySelector('.ui-icon').className === icon.className)));
  });
  // The menu unfolds by itself, which takes a while.
  tell('click-pie click-pie-nodelay', () => {
    const closed = withText('#divWheel text', '+');
    if (closed && shown(closed)) return click(closed);
    const at = place(withText('#divWheel text', bold()[0]));
    return at && memory().rested ? {do: 'click', at} : wait((memory().rested = 1));
  });

  const folder = (item) => item.closest('ul').closest('li');
  tell('navigate-tree', () => {
    const wanted = withText('#tree span', match(/named "(.*)"/)[0]);
    const above = [];
    for (let item = folder(wanted.closest('li')); item; item = folder(item)) above.unshift(item);
    const closed = above.find((item) => item.classList.contains('expandable'));
    return click(closed ? closed.querySelector('span') : wanted);
  });

  tell('click-shades', () => {
    const wanted = match(/shades of (\w+)/)[0];
    return first(
      () => each(all(`#area span[data-color="${wanted}"]:not(.selected)`), (span) => click(span)),
      () => click('#submit'),
    );
  });
  tell('number-checkboxes', () => {
    const pattern = PATTERNS[match(/number "(\d)"/)[0]].flat();
    const boxes = all('#checkboxes input');
    return first(
      () => each(boxes, (box) => words.check(box, pattern[boxes.indexOf(box)] === 1)),
      () => click('#subbtn'),
    );
  });

  const ticked = (wanted) => first(
    () => each(all('#area label'), (label) => words.check(label.querySelector('input'), wanted(text(label)))),
    () => click('#subbtn'),
  );
  const listed = () => match(/Select (.*) and click/)[0].split(', ');
  tell('click-checkboxes click-checkboxes-large click-checkboxes-transfer', () => ticked((name) => listed().includes(name)));
  tell('click-option', () => first(
    () => words.check(withText('#area label', listed()[0]).querySelector('input')),
    () => click('#subbtn'),
  ));
  tell('click-checkboxes-soft', () => {
    const asked = match(/similar to (.*) and click/)[0].split(', ');
    return ticked((name) => SYNONYMS.some((set) => set.includes(name) && set.some((word) => asked.includes(word))));
  });

  tell('ascending-numbers', () => click(withText('#area_svg text', '1') || '#area_svg rect'));
  tell('find-greatest', () => {
    const cards = all('#cardholder .card');
    const best = cards.reduce((found, card) => (Number(text(card)) > Number(text(found)) ? card : found));
    return click(best.classList.contains('hidden') ? best : '#submit');
  });
  tell('odd-or-even', () => first(
    () => each(all('#numbers .row'), (row) => {
      const wanted = row.querySelector(Math.abs(Number(text(row.querySelector('.display-number')))) % 2 ? '.odd' : '.even');
      return wanted.classList.contains('selected') ? null : click(wanted);
    }),
    () => click('#submit'),
  ));
  tell('generate-number', () => {
    const said = text(one('#display-number'));
    const number = Number(said);
    const [less] = match(/less than (\d+)/), [greater] = match(/greater than (\d+)/);
    const odd = / odd /.test(instruction());
    const right = less ? number < less : greater ? number > greater : Math.abs(number) % 2 === (odd ? 1 : 0);
    return click(said !== '-' && right ? '#submit' : '#generate');
  });
  tell('button-delay', () => {
    if (!buttonsPushed.length) return click('#subbtn');
    const left = timeDelay - (Date.now() - currentTime) / 1000;
    return left > 0.05 ? wait(left) : click('#subbtn2');
  });
})();
