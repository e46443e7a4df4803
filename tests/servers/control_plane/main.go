// Command control-plane is every part of a Kubernetes control plane, and KWOK: the first argument says which part to be.
//
// The parts share nearly all of their code, so one program is built in a quarter of the time of five, and is a third of their size.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	_ "time/tzdata"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	nodestages "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	heartbeats "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	podstages "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	"sigs.k8s.io/kwok/pkg/config"
	kwok "sigs.k8s.io/kwok/pkg/kwok/cmd"
	"sigs.k8s.io/kwok/pkg/log"
	"sigs.k8s.io/kwok/pkg/utils/signals"
)

var parts = map[string]func() error{
	"etcd":                    func() error { etcdmain.Main(os.Args); return nil },
	"kube-apiserver":          func() error { return status(cli.Run(apiserver.NewAPIServerCommand())) },
	"kube-controller-manager": func() error { return status(cli.Run(controllers.NewControllerManagerCommand())) },
	"kube-scheduler":          func() error { return status(cli.Run(scheduler.NewSchedulerCommand())) },
	"kwok":                    func() error { return nodes(signals.SetupSignalContext()) },
	"stages":                  stages,
}

func main() {
	if len(os.Args) < 2 || parts[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "the first argument must be etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok or stages")
		os.Exit(2)
	}
	run := parts[os.Args[1]]
	os.Args = os.Args[1:]
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func status(code int) error {
	if code != 0 {
		os.Exit(code)
	}
	return nil
}

// stages prints what KWOK does with nodes and pods: since 0.8 it does nothing unless its configuration says so.
func stages() error {
	_, err := fmt.Println(strings.Join([]string{
		nodestages.DefaultNodeInit,
		heartbeats.DefaultNodeHeartbeatWithLease,
		podstages.DefaultPodReady,
		podstages.DefaultPodComplete,
		podstages.DefaultPodDelete,
	}, "\n---\n"))
	return err
}

func nodes(ctx context.Context) error {
	// The other parts have registered a --version of another kind for every command of this process.
	pflag.CommandLine = pflag.NewFlagSet(os.Args[0], pflag.ExitOnError)
	early := pflag.NewFlagSet("early", pflag.ContinueOnError)
	early.ParseErrorsAllowlist.UnknownFlags = true
	early.Usage = func() {}
	ctx, _ = log.InitFlags(ctx, early)
	ctx, err := config.InitFlags(ctx, early)
	if err != nil {
		return err
	}
	command := kwok.NewCommand(ctx)
	command.PersistentFlags().AddFlagSet(early)
	return command.ExecuteContext(ctx)
}
