// Package userpass gets the user name and password that a scheme makes its
// credentials of.
package userpass

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/authtrip/authtrip/internal/field"
	"github.com/authtrip/authtrip/internal/hop"
	"github.com/authtrip/authtrip/internal/rescue"
)

// Func asks for a user name and password.
type Func = func(context.Context) (username, password string, err error)

var (
	errNone     = errors.New("neither a user name nor a password")
	errUsername = errors.New("the user name has a control character")
	errPassword = errors.New("the password has a control character")
)

// For returns what req is to be authenticated with: what ask says if it is not
// nil, else username and password.
func For(req *http.Request, username, password string, ask Func) (string, string, error) {
	ctx, wait := hop.Waiting(req)
	defer wait.Stop()
	return Ask(ctx, username, password, ask)
}

// Ask is For without a request.
func Ask(ctx context.Context, username, password string, ask Func) (string, string, error) {
	if ask != nil {
		var err error
		if username, password, err = call(ctx, ask); err != nil {
			return "", "", err
		}
	}
	switch {
	case username == "" && password == "":
		return "", "", errNone
	case field.HasControl(username):
		return "", "", errUsername
	case field.HasControl(password):
		return "", "", errPassword
	}
	return username, password, nil
}

func call(ctx context.Context, ask Func) (username, password string, err error) {
	defer func() {
		if v := recover(); v != nil {
			username, password, err = "", "", rescue.Error("Credentials", v)
		}
	}()
	username, password, err = ask(ctx)
	if err != nil {
		return "", "", fmt.Errorf("Credentials: %w", err)
	}
	return username, password, nil
}
