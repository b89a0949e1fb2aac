#!/bin/sh
# The first process of a test guest: loads modules, runs the tasks, and says on the second serial
# port what became of them. Lines for the machine that started the guest begin with "@".
export PATH=/bin HOME=/ LB_BIN_DIR=/lb LB_TEST_REPORT=/tmp/report
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
mount -t bpf bpf /sys/fs/bpf
exec </dev/null >/dev/ttyS1 2>&1
ip link set lo up
while read -r module; do
    insmod "$module" || echo "@broken $module cannot be loaded"
done </modules
echo "@ready"
while read -r name command; do
    echo "@begin $name"
    : >"$LB_TEST_REPORT"
    sh -c "$command"
    code=$?
    # A test that was cut short leaves its line open.
    echo
    while read -r line; do
        echo "@report $line"
    done <"$LB_TEST_REPORT"
    echo "@end $name $code"
done </tasks
echo "@done"
# Whoever started the guest ends it: were this the end, the kernel would panic.
exec sleep infinity
