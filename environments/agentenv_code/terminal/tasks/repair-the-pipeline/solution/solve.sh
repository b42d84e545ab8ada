#!/bin/bash
cat >total.sh <<'END'
#!/bin/bash
# Reads orders (item,quantity,price in cents) and prints each item with what it earned, in cents, and the total.
LC_ALL=C awk -F, -v OFS=, '
  NR == 1 || /^#/ || /^$/ { next }
  { sum[$1] += $2 * $3; total += $2 * $3 }
  END {
    for (item in sum) print item, sum[item] | "LC_ALL=C sort -t, -k1,1"
    close("LC_ALL=C sort -t, -k1,1")
    print "total", total + 0
  }
'
END
bash total.sh <orders.csv | diff - expected.txt && echo "as expected"
