"""One headless Chromium for all episodes of a process, and pages of it as surfaces.

`chromium` starts and ends it with the help of `keeper`, `cdp` speaks to it. `page` is a surface: `acting` carries out
actions with `hands`, `keys` and `clipboard`, `eyes` looks at it, `pictures` takes pictures, `clock` is its time,
`watch` sees what happens by itself, and `patience` is how long one waits for it; `inside` are the scripts in the page.
`options` is how a page is made, and what it may reach. `pool` lends pages to episodes and keeps an eye on `memory`;
`sharing` has environments that are played together use the same pool.
"""
