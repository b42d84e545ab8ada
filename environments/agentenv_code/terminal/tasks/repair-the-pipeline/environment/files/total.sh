#!/bin/bash
# Reads orders (item,quantity,price in cents) and prints each item with what it earned, in cents, and the total.
while IFS=, read item quantity price; do
  [ $item = item ] && continue
  echo "$item $((quantity * price))"
done | sort | awk '{ sum[$1] = $2; total += $2 } END { for (item in sum) print item "," sum[item]; print "total," total }'
