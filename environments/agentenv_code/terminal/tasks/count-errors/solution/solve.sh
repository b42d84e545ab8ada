#!/bin/bash
{
  echo "service,errors"
  awk '$2 == "ERROR" { gsub(/[][]/, "", $3); count[$3]++ } END { for (name in count) print name "," count[name] }' service.txt |
    sort -t, -k2,2nr -k1,1
} >errors.csv
cat errors.csv
