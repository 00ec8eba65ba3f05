// Compares our schemas with the published ones, symbol by symbol.
//
// The argument is a FileDescriptorSet made from remote-apis/. Every message, field, enum value and
// method in it must be in the descriptors that the upstream projects publish as Go packages, with
// the same properties; and what upstream has in a message, enum or service of ours, we must have
// too. Whole messages that we do not use may be absent. Exits 1 with a list of the differences.
package main

import (
	"fmt"
	"os"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	// Each of these registers its descriptors. The list is what is compared.
	_ "cloud.google.com/go/longrunning/autogen/longrunningpb"
	_ "github.com/bazelbuild/remote-apis/build/bazel/remote/asset/v1"
	_ "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	_ "github.com/bazelbuild/remote-apis/build/bazel/remote/logstream/v1"
	_ "github.com/bazelbuild/remote-apis/build/bazel/semver"
	_ "google.golang.org/genproto/googleapis/bytestream"
	_ "google.golang.org/genproto/googleapis/devtools/remoteworkers/v1test2"
	_ "google.golang.org/genproto/googleapis/rpc/code"
	_ "google.golang.org/genproto/googleapis/rpc/errdetails"
	_ "google.golang.org/genproto/googleapis/rpc/status"
	_ "google.golang.org/grpc/health/grpc_health_v1"
	_ "google.golang.org/grpc/reflection/grpc_reflection_v1"
	_ "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
)

// Packages with nothing to compare to, and why.
var excluded = map[protoreflect.FullName]string{
	"gantry.v1":                 "ours",
	"buildbarn.remoteworker":    "not published as a fetchable module; test/wire-golden.test.ts has bytes made by its code",
	"buildbarn.resourceusage":   "not published as a fetchable module",
	"externalscaler":            "KEDA publishes it inside its own program only",
	"buildbarn.buildqueuestate": "not published as a fetchable module; test/build-queue-state-golden.test.ts has bytes made by its code",
}

type comparison struct {
	messages, fields, values, methods int
	differences                       []string
}

func main() {
	if len(os.Args) != 2 {
		fail("usage: check-wire <file descriptor set>")
	}
	bytes, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(bytes, set); err != nil {
		fail(err)
	}
	ours, err := protodesc.NewFiles(set)
	if err != nil {
		fail(err)
	}

	c := &comparison{}
	for _, file := range set.GetFile() {
		descriptor, err := ours.FindFileByPath(file.GetName())
		if err != nil {
			fail(err)
		}
		if reason, ok := excluded[descriptor.Package()]; ok {
			fmt.Printf("not compared: %s (%s)\n", descriptor.Path(), reason)
		} else {
			c.file(descriptor)
		}
	}
	for _, difference := range c.differences {
		fmt.Println(difference)
	}
	fmt.Printf("compared %d messages, %d fields, %d enum values, %d methods; differences: %d\n",
		c.messages, c.fields, c.values, c.methods, len(c.differences))
	if len(c.differences) > 0 || c.messages*c.fields*c.values*c.methods == 0 {
		os.Exit(1)
	}
}

func fail(reason any) {
	fmt.Fprintln(os.Stderr, reason)
	os.Exit(2)
}

func (c *comparison) differ(where protoreflect.FullName, format string, arguments ...any) {
	c.differences = append(c.differences, fmt.Sprintf("%s: %s", where, fmt.Sprintf(format, arguments...)))
}

// published finds the upstream descriptor of the same name and kind.
func published[T protoreflect.Descriptor](c *comparison, ours T) (T, bool) {
	var none T
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(ours.FullName())
	if err != nil {
		c.differ(ours.FullName(), "not published")
		return none, false
	}
	theirs, ok := found.(T)
	if !ok {
		c.differ(ours.FullName(), "published as another kind of thing")
		return none, false
	}
	return theirs, true
}

func (c *comparison) file(ours protoreflect.FileDescriptor) {
	if theirs, err := protoregistry.GlobalFiles.FindFileByPath(ours.Path()); err != nil {
		c.differ(ours.Package(), "no published file is named %s", ours.Path())
	} else if theirs.Syntax() != ours.Syntax() {
		c.differ(ours.Package(), "syntax is %s, published %s", ours.Syntax(), theirs.Syntax())
	}
	for i := range ours.Messages().Len() {
		c.message(ours.Messages().Get(i))
	}
	for i := range ours.Enums().Len() {
		c.enum(ours.Enums().Get(i))
	}
	for i := range ours.Services().Len() {
		c.service(ours.Services().Get(i))
	}
}

func (c *comparison) message(ours protoreflect.MessageDescriptor) {
	for i := range ours.Messages().Len() {
		c.message(ours.Messages().Get(i))
	}
	for i := range ours.Enums().Len() {
		c.enum(ours.Enums().Get(i))
	}
	theirs, ok := published(c, ours)
	if !ok {
		return
	}
	c.messages++
	c.property(ours.FullName(), "reserved", reserved(ours), reserved(theirs))
	c.property(ours.FullName(), "map entry", ours.IsMapEntry(), theirs.IsMapEntry())
	for i := range ours.Fields().Len() {
		field := ours.Fields().Get(i)
		if other := theirs.Fields().ByName(field.Name()); other == nil {
			c.differ(field.FullName(), "not published")
		} else {
			c.fields++
			c.property(field.FullName(), "field", describe(field), describe(other))
		}
	}
	for i := range theirs.Fields().Len() {
		if field := theirs.Fields().Get(i); ours.Fields().ByName(field.Name()) == nil {
			c.differ(field.FullName(), "published as %s, and we lack it", describe(field))
		}
	}
}

func (c *comparison) enum(ours protoreflect.EnumDescriptor) {
	theirs, ok := published(c, ours)
	if !ok {
		return
	}
	c.property(ours.FullName(), "closed", ours.IsClosed(), theirs.IsClosed())
	for i := range ours.Values().Len() {
		value := ours.Values().Get(i)
		if other := theirs.Values().ByName(value.Name()); other == nil {
			c.differ(value.FullName(), "not published")
		} else {
			c.values++
			c.property(value.FullName(), "number", value.Number(), other.Number())
		}
	}
	for i := range theirs.Values().Len() {
		if value := theirs.Values().Get(i); ours.Values().ByName(value.Name()) == nil {
			c.differ(value.FullName(), "published as %d, and we lack it", value.Number())
		}
	}
}

func (c *comparison) service(ours protoreflect.ServiceDescriptor) {
	theirs, ok := published(c, ours)
	if !ok {
		return
	}
	for i := range ours.Methods().Len() {
		method := ours.Methods().Get(i)
		if other := theirs.Methods().ByName(method.Name()); other == nil {
			c.differ(method.FullName(), "not published")
		} else {
			c.methods++
			c.property(method.FullName(), "method", signature(method), signature(other))
		}
	}
	for i := range theirs.Methods().Len() {
		if method := theirs.Methods().Get(i); ours.Methods().ByName(method.Name()) == nil {
			c.differ(method.FullName(), "published, and we lack it")
		}
	}
}

func (c *comparison) property(where protoreflect.FullName, what string, ours, theirs any) {
	if ours != theirs {
		c.differ(where, "%s is %v, published %v", what, ours, theirs)
	}
}

// describe says all that matters of a field in one line, so that lines can be compared.
func describe(field protoreflect.FieldDescriptor) string {
	parts := []string{field.Cardinality().String(), field.Kind().String()}
	if field.Message() != nil {
		parts = append(parts, string(field.Message().FullName()))
	}
	if field.Enum() != nil {
		parts = append(parts, string(field.Enum().FullName()))
	}
	parts = append(parts, fmt.Sprintf("= %d", field.Number()), "json "+field.JSONName())
	if field.IsPacked() {
		parts = append(parts, "packed")
	}
	if field.HasPresence() {
		parts = append(parts, "with presence")
	}
	if field.IsMap() {
		parts = append(parts, "map")
	}
	if oneof := field.ContainingOneof(); oneof != nil {
		parts = append(parts, "oneof "+string(oneof.Name()))
	}
	return strings.Join(parts, " ")
}

func signature(method protoreflect.MethodDescriptor) string {
	return fmt.Sprintf("(%s stream=%t) returns (%s stream=%t)",
		method.Input().FullName(), method.IsStreamingClient(), method.Output().FullName(), method.IsStreamingServer())
}

func reserved(message protoreflect.MessageDescriptor) string {
	var parts []string
	for i := range message.ReservedRanges().Len() {
		parts = append(parts, fmt.Sprint(message.ReservedRanges().Get(i)))
	}
	for i := range message.ReservedNames().Len() {
		parts = append(parts, string(message.ReservedNames().Get(i)))
	}
	return strings.Join(parts, " ")
}
